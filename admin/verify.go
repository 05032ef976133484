package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"mtad/mailbox"
	"mtad/store"
)

// maxProblems bounds the problems that are named one by one.
const maxProblems = 1000

// Verified is what a look at everything that is stored came to.
type Verified struct {
	Messages int       `json:"messages"` // that rows refer to
	Records  int       `json:"records"`  // whole ones in the journal
	Folders  int       `json:"folders"`
	Entries  int       `json:"entries"`  // messages in folders
	Found    int       `json:"found"`    // problems
	Problems []Problem `json:"problems"` // the first thousand
}

// Problem is something that is not as it should be.
type Problem struct {
	Message string `json:"message,omitempty"` // an ID
	Folder  string `json:"folder,omitempty"`
	Account int64  `json:"account,omitempty"`
	What    string `json:"what"`
	Lost    bool   `json:"lost,omitempty"` // octets of mail can't be read
}

func (v *Verified) add(p Problem) {
	v.Found++
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, p)
	}
}

// VerifyStore looks at database, journal and folders; see store.DB.Verify and
// mailbox.Store.Verify.
func VerifyStore(ctx context.Context, db *store.DB, boxes *mailbox.Store) (Verified, error) {
	v := Verified{Problems: []Problem{}}
	sum, err := db.Verify(ctx, func(p store.Problem) {
		out := Problem{What: p.What, Lost: p.Lost}
		if p.Message != 0 {
			out.Message = p.Message.String()
		}
		v.add(out)
	})
	v.Messages, v.Records = sum.Messages, sum.Records
	if err != nil {
		return v, err
	}
	return v, v.folders(ctx, boxes, 0)
}

// folders looks at the folders of an account; 0 is everybody's.
func (v *Verified) folders(ctx context.Context, boxes *mailbox.Store, account mailbox.AccountID) error {
	sum, err := boxes.Verify(ctx, account, func(f mailbox.Folder, what string) {
		v.add(Problem{Folder: f.Name, Account: int64(f.Account), What: what})
	})
	v.Folders, v.Entries = sum.Folders, sum.Messages
	if errors.Is(err, store.ErrDamaged) {
		v.add(Problem{What: "database: " + err.Error(), Lost: true})
		return nil
	}
	return err
}

// verify answers when everything, or a user's folders, has been looked at: it
// may take as long as reading all mail does, and ends when the caller leaves.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	rc := http.NewResponseController(w)
	if errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})) != nil {
		return nil // the caller has left
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.live, cancel)()
	user := r.URL.Query().Get("user")
	v := Verified{Problems: []Problem{}}
	var err error
	if user == "" {
		v, err = VerifyStore(ctx, s.cfg.DB, s.cfg.Mailboxes)
	} else if u, uerr := s.cfg.Directory.User(ctx, user); uerr != nil {
		err = about(user, uerr)
	} else {
		err = v.folders(ctx, s.cfg.Mailboxes, mailbox.AccountID(u.ID))
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return errors.Join(rc.SetWriteDeadline(time.Now().Add(writeTime)), json.NewEncoder(w).Encode(v))
}

// Verify looks at everything that is stored, or with a user at their folders.
func (c *Client) Verify(ctx context.Context, user string) (Verified, error) {
	q := map[string][]string{}
	if user != "" {
		q["user"] = []string{user}
	}
	return read[Verified](ctx, c, "/v1/verify", q)
}

// Probed is how the database takes a change.
type Probed struct {
	Took time.Duration `json:"took"` // nanoseconds
}

// probeTime bounds a probe.
const probeTime = 5 * time.Second

func (s *Server) probe(ctx context.Context, _ url.Values) (Probed, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	begin := time.Now()
	err := s.cfg.DB.Probe(ctx)
	return Probed{time.Since(begin)}, err
}

// Probe has the server commit a change that changes nothing, and returns how
// long that took.
func (c *Client) Probe(ctx context.Context) (time.Duration, error) {
	p, err := read[Probed](ctx, c, "/v1/probe", nil)
	return p.Took, err
}
