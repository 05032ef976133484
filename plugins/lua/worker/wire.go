package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
	"mtad/smtp"
)

// Bounds of a frame.
const (
	maxHead    = 16 << 20
	maxPayload = 2 << 20
)

// kind says what a frame is.
type kind string

// The kinds: hello is a worker's first; call is a server's. A worker answers
// with a verdict or a fault, and asks for everything else before. Answers to
// what it asks are answers.
const (
	kindHello   kind = "hello"
	kindCall    kind = "call"
	kindVerdict kind = "verdict"
	kindFault   kind = "fault"
	kindAnswer  kind = "answer"
	kindScript  kind = "script"
	kindRead    kind = "read"
	kindDNS     kind = "dns"
	kindGet     kind = "get"
	kindSet     kind = "set"
	kindAdd     kind = "add"
	kindMap     kind = "map"
	kindFetch   kind = "fetch"
	kindPipe    kind = "pipe"
	kindLog     kind = "log"
)

// frame is one message on the socket. Which fields count depends on the kind;
// octets that may be many travel behind it, as the payload.
type frame struct {
	Kind    kind            `json:"k"`
	Call    *call           `json:"call,omitempty"`
	Verdict *verdict        `json:"verdict,omitempty"`
	Request *engine.Request `json:"request,omitempty"`
	Answer  dns.Answer      `json:"answer,omitzero"`

	Text   string        `json:"text,omitempty"`
	Name   string        `json:"name,omitempty"`
	Number int64         `json:"n,omitempty"`
	Length int64         `json:"len,omitempty"`
	TTL    time.Duration `json:"ttl,omitempty"`
	OK     bool          `json:"ok,omitempty"`
	Err    errorKind     `json:"err,omitempty"`

	payload []byte
}

// call asks for one.
type call struct {
	Key    string         `json:"key"` // of the script: a worker keeps what it has compiled
	Name   string         `json:"name"`
	Stage  pipeline.Stage `json:"stage"`
	View   *pipeline.Sent `json:"view"`
	Size   int64          `json:"size"` // of the message, whose beginning is the payload; -1: there is none
	Limits engine.Limits  `json:"limits"`
	Now    time.Time      `json:"now"`
	Has    has            `json:"has"`
	Check  bool           `json:"check,omitempty"` // only say whether the script is good
}

// has says what the server's Host offers.
type has struct{ DNS, KV, Map, Fetch, Pipe bool }

// errorKind tells errors apart on the other side: "" is none.
type errorKind string

const otherError errorKind = "error"

var sentinels = map[errorKind]error{
	"no-name": dns.ErrNoName, "no-data": dns.ErrNoData, "temporary": dns.ErrTemporary, "bad-name": dns.ErrName,
	"not-allowed": engine.ErrNotAllowed, "no-table": engine.ErrNoTable,
}

// setError puts an error into a frame.
func (f *frame) setError(err error) {
	if err == nil {
		return
	}
	f.Err, f.Text = otherError, fmt.Sprintf("%.500s", err)
	for k, s := range sentinels {
		if errors.Is(err, s) {
			f.Err = k
		}
	}
}

// error is the error of an answer.
func (f *frame) error() error {
	switch s := sentinels[f.Err]; {
	case f.Err == "":
		return nil
	case s != nil:
		return fmt.Errorf("%w%s", s, strings.TrimPrefix(f.Text, s.Error()))
	}
	return errors.New(f.Text)
}

func writeFrame(w io.Writer, f *frame) error {
	head, err := json.Marshal(f)
	if err != nil {
		return err
	}
	out := make([]byte, 8, 8+len(head)+len(f.payload))
	binary.BigEndian.PutUint32(out, uint32(len(head)))
	binary.BigEndian.PutUint32(out[4:], uint32(len(f.payload)))
	out = append(append(out, head...), f.payload...)
	_, err = w.Write(out)
	return err
}

func readFrame(r io.Reader) (*frame, error) {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	head, payload := binary.BigEndian.Uint32(size[:]), binary.BigEndian.Uint32(size[4:])
	if head > maxHead || payload > maxPayload {
		return nil, fmt.Errorf("worker: a frame of %d and %d octets", head, payload)
	}
	b := make([]byte, head+payload)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	f := new(frame)
	if err := json.Unmarshal(b[:head], f); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	f.payload = b[head:]
	return f, nil
}

// verdict is a pipeline.Verdict whose edits are told by kind.
type verdict struct {
	Action pipeline.Action        `json:"action"`
	Reply  smtp.Reply             `json:"reply,omitzero"`
	Note   string                 `json:"note,omitempty"`
	Mods   []edit                 `json:"mods,omitempty"`
	Rcpts  []pipeline.RcptVerdict `json:"rcpts,omitempty"` // without edits
}

type edit struct {
	Kind string          `json:"k"`
	Edit json.RawMessage `json:"e"`
}

// body stands for a ReplaceBody.
type body struct{ Body []byte }

// kinds are the edits that scripts can ask for.
var kinds = map[string]func(json.RawMessage) (pipeline.Modification, error){
	"AddScore": decode[pipeline.AddScore], "Tag": decode[pipeline.Tag], "AddAuthResult": decode[pipeline.AddAuthResult],
	"AddHeader": decode[pipeline.AddHeader], "InsertHeader": decode[pipeline.InsertHeader], "SetHeader": decode[pipeline.SetHeader],
	"RemoveHeader": decode[pipeline.RemoveHeader], "SetSender": decode[pipeline.SetSender], "AddRecipient": decode[pipeline.AddRecipient],
	"RemoveRecipient": decode[pipeline.RemoveRecipient], "Hold": decode[pipeline.Hold], "Quarantine": decode[pipeline.Quarantine],
	"SetFolder": decode[pipeline.SetFolder], "FileInto": decode[pipeline.FileInto], "SetFlags": decode[pipeline.SetFlags],
	"Redirect": decode[pipeline.Redirect], "Respond": decode[pipeline.Respond],
	"ReplaceBody": func(b json.RawMessage) (pipeline.Modification, error) {
		var in body
		err := json.Unmarshal(b, &in)
		return pipeline.ReplaceBody{Body: message.FromBytes(in.Body)}, err
	},
}

func decode[T pipeline.Modification](b json.RawMessage) (pipeline.Modification, error) {
	var m T
	err := json.Unmarshal(b, &m)
	return m, err
}

func verdictOut(v pipeline.Verdict) (*verdict, error) {
	out := &verdict{Action: v.Action, Reply: v.Reply, Note: v.Note, Rcpts: v.Rcpts}
	for _, m := range v.Mods {
		var in any = m
		if r, ok := m.(pipeline.ReplaceBody); ok {
			data, err := message.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			in = body{data}
		}
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		out.Mods = append(out.Mods, edit{strings.TrimPrefix(fmt.Sprintf("%T", m), "pipeline."), b})
	}
	return out, nil
}

// verdictIn reads a worker's verdict. It believes nothing: what a script could
// not have asked for is an error.
func verdictIn(in *verdict) (pipeline.Verdict, error) {
	if in == nil {
		return pipeline.Verdict{}, errors.New("worker: no verdict")
	}
	out := pipeline.Verdict{Action: in.Action, Reply: in.Reply, Note: in.Note, Rcpts: in.Rcpts}
	for _, e := range in.Mods {
		make := kinds[e.Kind]
		if make == nil {
			return out, fmt.Errorf("worker: an edit %.40q", e.Kind)
		}
		m, err := make(e.Edit)
		if err == nil {
			err = engine.CheckEdit(m)
		}
		if err != nil {
			return out, fmt.Errorf("worker: %s: %w", e.Kind, err)
		}
		out.Mods = append(out.Mods, m)
	}
	for _, r := range in.Rcpts {
		if len(r.Mods) > 0 {
			return out, errors.New("worker: an edit for one recipient")
		}
	}
	return out, engine.CheckReply(in.Reply)
}

// level is a log level as a number of the wire.
func level(n int64) slog.Level {
	return min(max(slog.Level(n), slog.LevelDebug), slog.LevelWarn)
}
