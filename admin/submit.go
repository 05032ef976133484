package admin

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"mtad/maildrop"
	"mtad/message"
)

// Submitted is the answer to a message that was handed in.
type Submitted struct {
	ID string `json:"id"` // of the message; "" where there is none
}

// submit takes a message with its envelope, which is the call's body, as maildrop.Write
// writes it.
func (s *Server) submit(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Submit == nil {
		return &Error{Unavailable, "no mail is taken here"}
	}
	p, _ := r.Context().Value(peerKey{}).(peer)
	id, err := s.cfg.Submit(r.Context(), p.uid, r.Body)
	if err != nil {
		return err
	}
	return write(w, Submitted{id})
}

// Submit hands in a message.
func (c *Client) Submit(ctx context.Context, e maildrop.Envelope, body message.Bytes) (Submitted, error) {
	size, err := maildrop.Size(e, body)
	if err != nil {
		return Submitted{}, &Error{Bug, err.Error()}
	}
	pr, pw := io.Pipe()
	defer pr.Close()
	go func() { pw.CloseWithError(maildrop.Write(pw, e, body)) }()
	return decodeBody[Submitted](c)(c.call(ctx, http.MethodPost, "/v1/submit", url.Values{}, pr, size))
}
