package admin

import (
	"bytes"
	"strings"
	"testing"

	"mtad/spamdb"
)

func TestLearned(t *testing.T) {
	h, ctx := newHarness(t), t.Context()
	check(t, h.AddDomain(ctx, Domain{Name: "example.test"}))
	must[User](t)(h.AddUser(ctx, Credentials{"Alice", "x"}))
	const text = "From: a@b.test\r\nMessage-ID: <1@b.test>\r\n\r\nmoney, money\r\n"
	for _, step := range []struct {
		user, class string
		want        bool
	}{{"", "spam", true}, {"", "spam", false}, {"alice", "ham", true}, {"", "ham", true}, {"", "none", true}, {"", "none", false}} {
		got, err := h.Learn(ctx, step.user, step.class, []byte(text))
		if err != nil || got.Changed != step.want {
			t.Errorf("%+v: %+v, %v", step, got, err)
		}
	}
	if _, err := h.Learn(ctx, "", "virus", nil); code(t, err) != Usage {
		t.Errorf("got %v", err)
	}
	if _, err := h.Learn(ctx, "nobody", "spam", nil); code(t, err) != NoUser {
		t.Errorf("got %v", err)
	}
	if st, err := h.Learned(ctx, ""); err != nil || st.Spam+st.Ham+st.Tokens != 0 {
		t.Errorf("of the site: %+v, %v", st, err)
	}
	st := must[spamdb.Stats](t)(h.Learned(ctx, "Alice@Example.test"))
	if st.Ham != 1 || st.Spam != 0 || st.Tokens == 0 || st.Newest.IsZero() {
		t.Errorf("of Alice: %+v", st)
	}
	var backup bytes.Buffer
	check(t, h.ExportLearned(ctx, "alice", &backup))
	if !strings.HasPrefix(backup.String(), "v\t3\tdb_version") || !strings.Contains(backup.String(), "v\t1\tnum_nonspam\n") {
		t.Errorf("%.200q", backup.String())
	}
	done, err := h.ImportLearned(ctx, "", bytes.NewReader(backup.Bytes()), int64(backup.Len()), false)
	if err != nil || int64(done.Tokens) != st.Tokens || done.Messages != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := h.ImportLearned(ctx, "", strings.NewReader("x"), 1, false); code(t, err) != BadData || !strings.Contains(err.Error(), "no backup") {
		t.Errorf("got %v", err)
	}
	if now := must[spamdb.Stats](t)(h.Learned(ctx, "")); now.Ham != 1 || now.Tokens != st.Tokens {
		t.Errorf("of the site, imported: %+v", now)
	}
	must[User](t)(h.RemoveUser(ctx, "alice"))
	must[User](t)(h.AddUser(ctx, Credentials{"alice", "x"}))
	if st, err := h.Learned(ctx, "alice"); err != nil || st.Tokens != 0 {
		t.Errorf("the account went, and what it has learned stayed: %+v, %v", st, err)
	}
}
