package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua/engine"
)

// maxPrograms is how many scripts a worker keeps compiled.
const maxPrograms = 64

// child is the worker's side.
type child struct {
	in       *bufio.Reader
	out      io.Writer
	programs map[string]*program
	uses     int64
}

// program is a compiled script, or what is wrong with it.
type program struct {
	*engine.Program
	err  error
	used int64
}

// serve answers calls until the server hangs up.
func serve(conn io.ReadWriter, hello *frame) error {
	c := &child{in: bufio.NewReader(conn), out: conn, programs: map[string]*program{}}
	if err := writeFrame(c.out, hello); err != nil {
		return err
	}
	for {
		f, err := readFrame(c.in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.Kind != kindCall || f.Call == nil || f.Call.View == nil {
			return fmt.Errorf("worker: %q where a call was wanted", f.Kind)
		}
		if err := writeFrame(c.out, c.answer(f)); err != nil {
			return err
		}
	}
}

// answer runs the call's script.
func (c *child) answer(f *frame) *frame {
	v, err := c.run(f)
	if err == nil {
		var out *verdict
		if out, err = verdictOut(v); err == nil {
			return &frame{Kind: kindVerdict, Verdict: out}
		}
	}
	return &frame{Kind: kindFault, Text: fmt.Sprintf("%.2000s", err)}
}

func (c *child) run(f *frame) (pipeline.Verdict, error) {
	p, err := c.program(f.Call)
	if err == nil && f.Call.Check && !p.Stages.Has(pipeline.Deliver) {
		err = fmt.Errorf("%s defines no function deliver, the one that users' scripts have", f.Call.Name)
	}
	if err != nil || f.Call.Check {
		return pipeline.Verdict{}, err
	}
	var m *message.Message
	if f.Call.Size >= 0 {
		if m, err = message.Parse(&octets{c: c, first: f.payload, size: f.Call.Size}); err != nil {
			return pipeline.Verdict{}, err
		}
	}
	view, err := f.Call.View.View(m)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	return p.Run(context.Background(), engine.Call{Stage: f.Call.Stage, View: view, Host: c.host(f.Call), Limits: f.Call.Limits})
}

// program is the call's script, compiled; its text is asked for the first time.
func (c *child) program(in *call) (*engine.Program, error) {
	c.uses++
	p := c.programs[in.Key]
	if p == nil {
		a, err := c.ask(&frame{Kind: kindScript})
		if err != nil {
			return nil, err
		}
		p = &program{}
		p.Program, p.err = engine.Compile(in.Name, a.payload)
		if len(c.programs) >= maxPrograms {
			c.forget()
		}
		c.programs[in.Key] = p
	}
	p.used = c.uses
	return p.Program, p.err
}

// forget drops the script that was not used for longest.
func (c *child) forget() {
	oldest := ""
	for k, p := range c.programs {
		if oldest == "" || p.used < c.programs[oldest].used {
			oldest = k
		}
	}
	delete(c.programs, oldest)
}

// errGone ends a script whose server has hung up.
var errGone = errors.New("the server has hung up")

// ask asks the server for something.
func (c *child) ask(f *frame) (*frame, error) {
	if err := writeFrame(c.out, f); err != nil {
		return nil, errGone
	}
	a, err := readFrame(c.in)
	if err != nil || a.Kind != kindAnswer {
		return nil, errGone
	}
	return a, a.error()
}

// octets are those of the message: the first came with the call, the others are
// fetched, and the last piece is kept.
type octets struct {
	c     *child
	first []byte
	size  int64
	at    int64
	piece []byte
}

// Size is that of the message.
func (o *octets) Size() int64 { return o.size }

// pieceSize is how much is fetched at once.
const pieceSize = 256 << 10

// ReadAt reads from what is there, and fetches what is not.
func (o *octets) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= o.size {
			return n, io.EOF
		}
		switch {
		case at < int64(len(o.first)):
			n += copy(p[n:], o.first[at:])
		case at >= o.at && at < o.at+int64(len(o.piece)):
			n += copy(p[n:], o.piece[at-o.at:])
		default:
			a, err := o.c.ask(&frame{Kind: kindRead, Number: at, Length: pieceSize})
			if err != nil {
				return n, err
			}
			if len(a.payload) == 0 {
				return n, io.ErrUnexpectedEOF
			}
			o.at, o.piece = at, a.payload
		}
	}
	return n, nil
}

// host is what the server offers, by way of the socket.
func (c *child) host(in *call) *engine.Host {
	begin := time.Now()
	h := &engine.Host{
		Now: func() time.Time { return in.Now.Add(time.Since(begin)) },
		Log: func(l slog.Level, text string) {
			_ = writeFrame(c.out, &frame{Kind: kindLog, Number: int64(l), Text: text})
		},
	}
	if in.Has.DNS {
		h.DNS = (*resolver)(c)
	}
	if in.Has.KV {
		h.KV = (*state)(c)
	}
	if in.Has.Map {
		h.Map = func(_ context.Context, table, key string) (string, bool, error) {
			a, err := c.ask(&frame{Kind: kindMap, Name: table, Text: key})
			if err != nil {
				return "", false, err
			}
			return string(a.payload), a.OK, nil
		}
	}
	if in.Has.Fetch {
		h.Fetch = func(_ context.Context, r engine.Request) (engine.Response, error) {
			a, err := c.ask(&frame{Kind: kindFetch, Request: &r})
			if err != nil {
				return engine.Response{}, err
			}
			return engine.Response{Status: int(a.Number), Type: a.Name, Body: string(a.payload)}, nil
		}
	}
	if in.Has.Pipe {
		h.Pipe = func(_ context.Context, name string, _ message.Bytes) (engine.Output, error) {
			a, err := c.ask(&frame{Kind: kindPipe, Name: name})
			if err != nil {
				return engine.Output{}, err
			}
			return engine.Output{Status: int(a.Number), Text: string(a.payload)}, nil
		}
	}
	return h
}

// resolver asks the server's.
type resolver child

// Lookup asks the server.
func (r *resolver) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	a, err := (*child)(r).ask(&frame{Kind: kindDNS, Name: name, Number: int64(t)})
	if err != nil {
		return dns.Answer{}, err
	}
	return a.Answer, nil
}

// state is the server's KV.
type state child

// Get reads a key.
func (s *state) Get(_ context.Context, key string) ([]byte, bool, error) {
	a, err := (*child)(s).ask(&frame{Kind: kindGet, Name: key})
	if err != nil {
		return nil, false, err
	}
	return a.payload, a.OK, nil
}

// Set writes a key.
func (s *state) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	_, err := (*child)(s).ask(&frame{Kind: kindSet, Name: key, TTL: ttl, payload: value})
	return err
}

// Add counts.
func (s *state) Add(_ context.Context, key string, delta int64, ttl time.Duration) (int64, error) {
	a, err := (*child)(s).ask(&frame{Kind: kindAdd, Name: key, Number: delta, TTL: ttl})
	if err != nil {
		return 0, err
	}
	return a.Number, nil
}
