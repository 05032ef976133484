package milter

import (
	"bufio"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/milterd/wire"
	"mtad/pipeline"
	"mtad/smtp"
)

// judge is a milter whose answers depend on all that it knows of the session and
// the transaction, and on its seed, and on nothing else: it is pure.
type judge struct {
	ln    net.Listener
	seed  uint64
	terms wire.Terms
	mild  uint64 // of 1000 answers, how many are "continue"
	quiet bool   // after a verdict on the message it passes over the rest of it, as libmilter does
}

func newJudge(t *testing.T, r *rand.Rand) *judge {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{ln: ln, seed: r.Uint64(), mild: 900 + r.Uint64N(100), quiet: r.IntN(2) == 0, terms: wire.Terms{Version: 6, Limit: gomilter.MaxBodyChunk}}
	for _, code := range slices.Sorted(maps.Keys(wire.Events)) {
		e := wire.Events[code]
		switch r.IntN(6) {
		case 0:
			j.terms.Steps |= e.Skip
		case 1:
			j.terms.Steps |= e.Mute
		}
	}
	if r.IntN(3) == 0 {
		j.terms.Actions = gomilter.OptAddHeader
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				j.serve(c)
			})
		}
	})
	t.Cleanup(func() { ln.Close() })
	return j
}

// heard is what a judge has been told.
type heard struct{ session, mail, rcpts, content string }

func (j *judge) serve(c net.Conn) {
	in := bufio.NewReader(c)
	var k heard
	decided := false
	for {
		code, data, err := wire.Read(in, nil, wire.MaxPacket)
		if err != nil {
			return
		}
		event := gomilter.Code(code)
		switch event {
		case gomilter.CodeQuit:
			return
		case gomilter.CodeOptNeg:
			c.Write(wire.Append(nil, 'O', j.terms.Append(nil)...))
			continue
		case gomilter.CodeMacro:
			continue
		case gomilter.CodeAbort:
			k, decided = heard{session: k.session}, false
			continue
		case gomilter.CodeQuitNewConn:
			k, decided = heard{}, false
			continue
		}
		said := fmt.Sprintf("%c%s|", code, data)
		content := event == gomilter.CodeHeader || event == gomilter.CodeEOH || event == gomilter.CodeBody || event == gomilter.CodeEOB
		switch event {
		case gomilter.CodeConn:
			k = heard{session: said}
		case gomilter.CodeHelo:
			first, _, _ := strings.Cut(k.session, "|H")
			k = heard{session: first + "|" + said}
		case gomilter.CodeMail:
			k, decided = heard{session: k.session, mail: said}, false
		}
		if decided && j.quiet && content {
			continue
		}
		muted := j.terms.Steps&wire.Events[event].Mute != 0
		reply := j.reply(event, k, said)
		if muted {
			reply = wire.Append(nil, 'c') // which it keeps to itself
		}
		if content {
			k.content += said
			decided = decided || reply[len(reply)-1] != 'c'
		}
		if event == gomilter.CodeRcpt && reply[len(reply)-1] == 'c' {
			k.rcpts += said
		}
		if event == gomilter.CodeEOB {
			k, decided = heard{session: k.session}, false
		}
		if !muted {
			c.Write(reply)
		}
	}
}

func (j *judge) reply(event gomilter.Code, k heard, said string) (out []byte) {
	h := fnv.New64a()
	fmt.Fprint(h, j.seed, k, said)
	sum := h.Sum64()
	if event == gomilter.CodeEOB && j.terms.Actions != 0 {
		out = wire.Append(out, byte(gomilter.ActAddHeader), terminated("X-Judge", fmt.Sprint(sum))...)
	}
	action := gomilter.ActContinue
	mild := j.mild
	if event == gomilter.CodeRcpt {
		mild = mild*2 - 1000 // so that there are recipients to forget
	}
	if rough := sum % 1000; rough >= mild || event == gomilter.CodeConn && rough%100 == 0 {
		all := []gomilter.ActionCode{gomilter.ActReject, gomilter.ActTempFail, gomilter.ActAccept, gomilter.ActDiscard, 'c'}
		action = all[sum/1000%uint64(len(all))]
		if action == gomilter.ActDiscard && (event == gomilter.CodeConn || event == gomilter.CodeHelo) || event == wire.CodeUnknown {
			action = gomilter.ActReject
		}
	}
	return wire.Append(out, byte(action))
}

// judged is all that sessions through judges come to. behind says that a call which
// nobody wanted any more did not come back in time: then its session is another, and
// begins to ask anew.
func judged(t *testing.T, judges []*judge, seed uint64, pure bool) (story string, behind bool) {
	var steps []*pipeline.Step
	for i, j := range judges {
		st := step(newTestFilter(t, fmt.Sprintf("connect = \"inet:%s\"\npure = %v", j.ln.Addr(), pure)))
		st.Name = fmt.Sprint("milter", i)
		if (seed+uint64(i))%7 == 0 {
			st.Mode = pipeline.Shadow
		}
		steps = append(steps, st)
	}
	var log mtatest.Buffer
	env := pipeline.Env{Now: testNow, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	p, err := pipeline.New("test", steps, env)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	r := rand.New(rand.NewPCG(seed, 2))
	for range 3 {
		flow := p.Open(testClient)
		sessionOf(t, flow, r, &b)
		flow.Close()
	}
	return b.String(), strings.Contains(log.String(), "left behind")
}

func sessionOf(t *testing.T, flow *pipeline.Flow, r *rand.Rand, out *strings.Builder) {
	ctx := context.Background()
	run := func(s pipeline.Stage) bool {
		fate := flow.Run(ctx, s)
		fmt.Fprintln(out, s, fate)
		return fate.Action == pipeline.Continue
	}
	run(pipeline.Connect)
	for n := range 2 {
		flow.SetClient(func(c *pipeline.Client) { c.Helo = fmt.Sprint("h", n) })
		run(pipeline.Helo)
	}
	for n := range 3 {
		flow.Begin(message.ID(n+1), smtp.Address{Local: fmt.Sprint("s", n), Domain: "example.net"}, smtp.MailParams{})
		ok := run(pipeline.Mail)
		for i := range 4 {
			if !ok {
				break
			}
			flow.AddRcpt(pipeline.Recipient{Addr: smtp.Address{Local: fmt.Sprint("r", i), Domain: "example.org"}, Class: pipeline.Local})
			if !run(pipeline.Rcpt) {
				flow.DropRcpt()
			}
		}
		if ok && len(flow.View().Rcpts()) > 0 && run(pipeline.Data) {
			size := []int{0, 10, 200, 3000}[r.IntN(4)]
			text := strings.Repeat("X-Field: some value\r\n", r.IntN(250)) + "\r\n" + strings.Repeat("0123456789012345678901234567890123456789\r\n", size)
			m, err := message.Parse(message.FromBytes([]byte(text)))
			if err != nil {
				t.Error(err)
			}
			flow.SetMessage(m, [][]byte{[]byte(testReceived)}, nil)
			run(pipeline.Message)
			after, err := message.ReadAll(flow.View().Message().Bytes())
			h := fnv.New64a()
			h.Write(after)
			fmt.Fprintln(out, h.Sum64(), err, flow.View().Rcpts())
		}
		flow.SetCommand("XYZZY")
		run(pipeline.Unknown)
		for _, e := range flow.End(ctx, pipeline.Accepted).Events {
			fmt.Fprintln(out, " ", e.Stage, e.Step, e.Action, e.Reply, e.Mods, e.Rcpt, e.Err)
		}
	}
}

// TestPureAsTheOthers compares sessions with milters that are known to be pure,
// and so told of events ahead, with the same sessions with the same milters told
// of one event at a time, one after the other.
func TestPureAsTheOthers(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 15
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		var judges []*judge
		for range 2 + r.IntN(3) {
			judges = append(judges, newJudge(t, r))
		}
		ahead, behind := judged(t, judges, seed, true)
		for tries := 0; behind && tries < 20; tries++ { // the machine is busy
			ahead, behind = judged(t, judges, seed, true)
		}
		one, _ := judged(t, judges, seed, false)
		if ahead == one {
			continue
		}
		a, b := strings.Split(ahead, "\n"), strings.Split(one, "\n")
		for i := range a {
			if i >= len(b) || a[i] != b[i] {
				t.Fatalf("seed %d: pure\n%s\nnot pure\n%s", seed, strings.Join(a[max(0, i-20):i+1], "\n"), strings.Join(b[max(0, i-20):min(len(b), i+1)], "\n"))
			}
		}
	}
}

// TestPureCommands checks that pure milters are told of a command side by side,
// and of a message without waiting for each answer.
func TestPureCommands(t *testing.T) {
	const milters = 3
	var mu sync.Mutex
	here := map[byte]int{}
	all := map[byte]chan struct{}{}
	met := func(code byte) <-chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		if all[code] == nil {
			all[code] = make(chan struct{})
		}
		if here[code]++; here[code] == milters {
			close(all[code])
		}
		return all[code]
	}
	var steps []*pipeline.Step
	for i := range milters {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go meet(ln, met)
		st := step(newTestFilter(t, "pure = true\nconnect = \"inet:"+ln.Addr().String()+"\""))
		st.Name = fmt.Sprint("milter", i)
		steps = append(steps, st)
	}
	r := drive(t, newTestPipeline(t, steps...), mail{client: testClient, from: "a@example.net", to: []string{"b@example.org"}, data: "Subject: a\r\nX-B: b\r\n\r\nbody\r\n"})
	if r.fate.Action != pipeline.Continue {
		t.Errorf("%v\n%s", r.fate, explain(r.trace))
	}
}

// meet serves one connection: a milter that answers once all have been told of
// the event, and of a message once it has been told of all of it.
func meet(ln net.Listener, met func(byte) <-chan struct{}) {
	c, err := ln.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	var owed []byte
	for {
		code, _, err := wire.Read(in, nil, wire.MaxPacket)
		if err != nil {
			return
		}
		switch code {
		case 'D', 'A', 'K':
		case 'Q':
			return
		case 'O':
			terms := wire.Terms{Version: 6}
			c.Write(wire.Append(nil, 'O', terms.Append(nil)...))
		case 'L', 'N', 'B':
			owed = wire.Append(owed, 'c')
		default:
			<-met(code)
			c.Write(wire.Append(owed, 'c'))
			owed = nil
		}
	}
}
