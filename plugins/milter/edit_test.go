package milter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

func TestParseReply(t *testing.T) {
	for in, want := range map[string]string{
		"550 5.7.1 no\x00":                        "550 5.7.1 no",
		"451 4.7.1 later\x00":                     "451 4.7.1 later",
		"550 no code\x00":                         "550 no code",
		"550\x00":                                 "550",
		"550 5.7.1\x00":                           "550 5.7.1",
		"550 5.7.1 50%% sure\x00":                 "550 5.7.1 50% sure",
		"550-5.7.1 a\r\n550 5.7.1 b\x00":          "550 5.7.1 a / b",
		"550-5.7.1 a\n550-5.7.1 b\n550 c\r\n\x00": "550 5.7.1 a / b / c",
		"421 4.3.2 away\x00":                      "421 4.3.2 away",
		"550 5.7.1 tab\there \xff\x00":            "550 5.7.1 tab?here ?",
		"550 5.7.1 no end":                        "",
		"250 2.0.0 fine\x00":                      "",
		"600 6.0.0 what\x00":                      "",
		"55\x00":                                  "",
		"550x\x00":                                "",
		"abc def\x00":                             "",
		"550 4.7.1 two minds\x00":                 "",
		"550-5.7.1 a\r\n451 4.7.1 b\x00":          "",
		"\x00":                                    "",
		"":                                        "",
	} {
		r, err := parseReply([]byte(in))
		switch {
		case want == "":
			if !errors.Is(err, wire.ErrProtocol) {
				t.Errorf("%q: %v, %v, want an error", in, r, err)
			}
		case err != nil:
			t.Errorf("%q: %v", in, err)
		case strings.TrimSpace(r.String()) != want:
			t.Errorf("%q: %q, want %q", in, r.String(), want)
		}
	}
}

// FuzzReply feeds a milter's answers to the end of a message to the parsers, and
// applies what comes of them.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"y550 5.7.1 no\x00", "y550-5.7.1 a\r\n550 5.7.1 b\x00", "hX-A\x00b\x00", "m\x00\x00\x00\x01X-A\x00b\x00",
		"m\x00\x00\x00\x02X-A\x00\x00", "i\x00\x00\x00\x00X-A\x00b\x00", "bbody\r\n", "bbody\r", "+<a@b>\x00",
		"2<a@b>\x00NOTIFY=NEVER\x00", "-<a@b>\x00", "e<a@b>\x00SIZE=1\x00", "qwhy\x00", "c", "s", "4", "z",
	} {
		f.Add([]byte(s), []byte("hX-B\x00c\x00"))
	}
	const text = "Received: a\r\nX-A: 1\r\nX-A: 2\r\nSubject: s\r\n\r\nbody\r\n"
	original, err := message.Parse(message.FromBytes([]byte(text)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		d := newDraft(original, original, len(one)%2 == 0)
		d.actions = wire.Offer(6).Actions
		d.body.Limit = 1 << 20
		defer d.body.Close()
		s := &session{link: &link{Terms: wire.Terms{Version: 6}}}
		for _, in := range [][]byte{one, two} {
			if len(in) == 0 {
				continue
			}
			if edit := draftEdits[gomilter.ModifyActCode(in[0])]; edit != nil {
				if err := edit(d, in[1:]); err != nil {
					return
				}
				continue
			}
			v, err := s.judge(gomilter.CodeEOB, reply{gomilter.ActionCode(in[0]), in[1:]})
			if err == nil && v.Action.Refuses() && (v.Reply.Code < 400 || len(v.Reply.Append(nil)) == 0) {
				t.Fatalf("refusal without words: %v", v)
			}
		}
		mods, err := d.finish()
		if err != nil {
			t.Fatal(err)
		}
		apply(t, original, d, mods)
	})
}

// editor is a filter that makes the same edits always.
type editor struct{ mods []pipeline.Modification }

func (editor) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (e editor) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	return pipeline.Verdict{Mods: e.mods}, nil
}

// apply makes the edits in a pipeline, and checks that the draft counted as the
// pipeline does, and that the message can be read back as it was meant.
func apply(t *testing.T, original *message.Message, d *draft, mods []pipeline.Modification) {
	t.Helper()
	flow := newTestPipeline(t, step(editor{mods})).Open(testClient)
	defer flow.Close()
	flow.Begin(message.ID(1), smtp.Address{}, smtp.MailParams{})
	flow.AddRcpt(pipeline.Recipient{Addr: smtp.Address{Local: "b", Domain: "example.org"}})
	flow.SetMessage(original, nil, nil)
	flow.Run(context.Background(), pipeline.Message)
	var got, want []string
	m := flow.View().Message()
	for _, f := range m.Header().Fields() {
		got = append(got, strings.ToLower(f.Name))
	}
	for _, f := range d.fields {
		want = append(want, strings.ToLower(f.name))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("fields %q, the draft has %q\n%s", got, want, explain(flow.Trace()))
	}
	if len(got) == 0 {
		return
	}
	b, err := message.ReadAll(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	again, err := message.ParseLimited(message.FromBytes(b), message.Limits{HeaderSize: 1 << 20, Fields: 10000, Lines: 1 << 20})
	if err != nil || again.Header().Len() != len(got) || again.Body().Size() != m.Body().Size() {
		t.Fatalf("read back: %d fields of %d, %v\n%q", again.Header().Len(), len(got), err, b)
	}
}

func TestDraftHides(t *testing.T) {
	original, err := message.Parse(message.FromBytes([]byte("Received: theirs\r\nSubject: s\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	h, _ := original.Header().Insert(0, []byte("Date: d\r\n"))
	h, _ = h.Insert(0, []byte("Received: ours\r\n"))
	h, _ = h.Insert(0, []byte("X-Earlier: a filter's\r\n"))
	h, _ = h.Insert(4, []byte("Received: a filter's\r\n"))
	d := newDraft(original.WithHeader(h), original, false)
	var hidden []int
	for i, f := range d.fields {
		if f.hidden {
			hidden = append(hidden, i)
		}
	}
	if !slices.Equal(hidden, []int{1}) {
		t.Errorf("hidden are %v of %v", hidden, d.fields)
	}
	if d := newDraft(original, nil, false); d.ours {
		t.Error("hidden without an original")
	}
}
