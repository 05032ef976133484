package upstream

import (
	"io"
	"log"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

const goIMAP = "emersion/go-imap v2"

// Asked for everything, the server offers none of these.
func TestIMAPServerLacks(t *testing.T) {
	lacking := []imap.Cap{
		imap.CapCondStore, imap.CapQResync, imap.CapSort, "THREAD=REFERENCES", "COMPRESS=DEFLATE", imap.CapNotify, imap.CapMetadata,
		imap.CapQuota, imap.CapACL, imap.CapObjectID, imap.CapPreview, imap.CapID, imap.CapMultiAppend,
	}
	caps := imap.CapSet{imap.CapIMAP4rev1: {}}
	for _, c := range lacking {
		caps[c] = struct{}{}
	}
	mem := imapmemserver.New()
	mem.AddUser(imapmemserver.NewUser("a", "a"))
	s := imapserver.New(&imapserver.Options{
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
		Caps: caps, InsecureAuth: true, Logger: log.New(io.Discard, "", 0),
	})
	l := listen(t)
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })

	w := dial(t, l)
	w.line()
	w.send("1 LOGIN a a\r\n2 CAPABILITY\r\n")
	var offered []string
	for s := w.line(); !strings.HasPrefix(s, "2 "); s = w.line() {
		if list, ok := strings.CutPrefix(s, "* CAPABILITY "); ok {
			offered = strings.Fields(list)
		}
	}
	if !slices.Contains(offered, "IDLE") {
		t.Fatalf("not the capabilities of a session: %q", offered)
	}
	for _, c := range lacking {
		if slices.Contains(offered, string(c)) {
			reconsider(t, goIMAP, "the server offers "+string(c))
		}
	}
}
