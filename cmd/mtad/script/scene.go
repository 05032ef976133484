package script

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mtad/admin"
	"mtad/config"
	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
	"mtad/plugins/lua"
	"mtad/plugins/lua/engine"
	"mtad/smtp"
)

// scene is a message with an envelope and a client, and what a script is offered.
type scene struct {
	message []byte
	from    string
	to      []string
	mailbox string
	client  string
	name    string
	helo    string
	user    string
	tls     string
	stage   string
	zone    string
	maps    []string
	asked   []dns.Asked // recorded answers
	kv      *memory
}

func (s *scene) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "the reverse-path (default: the address in From)")
	f.StringSliceVar(&s.to, "to", nil, "the recipients (default: those in To and Cc)")
	f.StringVar(&s.mailbox, "mailbox", "", "the account, at deliver (default: the first recipient without its detail)")
	f.StringVar(&s.client, "client", "", "the client's IP address")
	f.StringVar(&s.name, "client-name", "", "its verified name")
	f.StringVar(&s.helo, "helo", "", "the name that it says")
	f.StringVar(&s.user, "user", "", "the account that it has logged in as")
	f.StringVar(&s.tls, "tls", "", "the version of TLS, such as TLSv1.3")
	f.StringVar(&s.stage, "stage", "", "only this stage")
	s.tools(cmd)
}

// tools are the flags for what a script is offered.
func (s *scene) tools(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.zone, "zone", "", "a zone file that answers for DNS (default: the name servers of this machine)")
	cmd.Flags().StringSliceVar(&s.maps, "map", nil, "a table, as NAME=FILE")
}

// readTrace takes over what a trace tells.
func (s *scene) readTrace(env *Env, cmd *cobra.Command, name string) error {
	var t admin.Trace
	id, err := message.ParseID(name)
	if err != nil {
		b, err := env.Read(name, cmd.InOrStdin())
		if err == nil {
			err = json.Unmarshal(b, &t)
		}
		if err != nil {
			return env.Fail(exitData, "%s is neither a message's ID nor the file of a trace: %v", name, err)
		}
	} else if err := env.WithClient(func(ctx context.Context, c *admin.Client, _ *cobra.Command, _ []string) (err error) {
		if t, err = c.Trace(ctx, id); err != nil {
			return err
		}
		var b bytes.Buffer
		if c.Message(ctx, id, &b) == nil { // else one is named, or there is none
			s.message = b.Bytes()
		}
		return nil
	})(cmd, nil); err != nil {
		return err
	}
	for _, e := range t.Events {
		s.recall(e)
	}
	return nil
}

// recall takes over one event. What the flags say wins.
func (s *scene) recall(e pipeline.Event) {
	s.asked = append(s.asked, e.DNS...)
	note := strings.Fields(e.Note)
	switch {
	case e.Kind == pipeline.EventSession && e.Host != "":
		if a, err := netip.ParseAddrPort(e.Host); err == nil {
			s.client = cmp.Or(s.client, a.Addr().String())
		}
	case e.Kind == pipeline.EventSession && len(note) == 2 && (note[0] == "EHLO" || note[0] == "HELO"):
		s.helo = cmp.Or(s.helo, note[1])
	case e.Kind == pipeline.EventSession && strings.HasPrefix(e.Note, "logged in as ") && len(note) > 3:
		s.user = cmp.Or(s.user, note[3])
	case e.Kind == pipeline.EventSession && strings.HasPrefix(e.Note, "TLS"):
		s.tls = cmp.Or(s.tls, note[0])
	case e.Kind == pipeline.EventSession && strings.HasPrefix(e.Note, "made here: ") && len(note) > 4 && note[len(note)-4] == "from":
		s.from = cmp.Or(s.from, note[len(note)-3])
		if to := strings.Trim(note[len(note)-1], "<>"); !slices.Contains(s.to, to) {
			s.to = append(s.to, to)
		}
	case e.Kind == pipeline.EventMail && len(note) == 2 && note[0] == "from":
		s.from = cmp.Or(s.from, note[1])
	case e.Kind == pipeline.EventMail && e.Rcpt != "" && e.Reply == "250" && !slices.Contains(s.to, e.Rcpt):
		s.to = append(s.to, e.Rcpt)
	}
}

// view is the scene before anything is asked.
func (s *scene) view() (*pipeline.View, error) {
	m, err := message.Parse(message.FromBytes(crlf(s.message)))
	if err != nil {
		return nil, err
	}
	c := pipeline.Client{Protocol: "smtp", Hostname: "localhost", Helo: s.helo, ESMTP: true, Name: s.name, Reverse: s.name}
	if s.client != "" {
		a, err := netip.ParseAddr(s.client)
		if err != nil {
			return nil, fmt.Errorf("%q is no IP address", s.client)
		}
		c.Addr = netip.AddrPortFrom(a, 25252)
	}
	if s.user != "" {
		c.Auth = &pipeline.Login{User: s.user, Mechanism: "PLAIN"}
	}
	if s.tls != "" {
		c.TLS = &pipeline.TLS{Version: s.tls}
	}
	env := pipeline.Mailing{ID: message.NewID(time.Now()), Time: time.Now()}
	from := s.from
	if from == "" {
		from = first(addresses(m, "From"))
	}
	if env.Sender, _, err = smtp.ParsePath(from, true); err != nil && from != "" && from != "<>" {
		return nil, fmt.Errorf("--from: %q is no address", from)
	}
	to := s.to
	if len(to) == 0 {
		to = append(addresses(m, "To"), addresses(m, "Cc")...)
	}
	for i, r := range to {
		a, err := smtp.ParseAddress(r)
		if err != nil {
			return nil, fmt.Errorf("--to: %q is no address", r)
		}
		env.Rcpts = append(env.Rcpts, pipeline.Recipient{ID: pipeline.RcptID(i + 1), Addr: a, Class: pipeline.Local})
	}
	if len(env.Rcpts) == 0 {
		env.Rcpts = []pipeline.Recipient{{ID: 1, Addr: smtp.Address{Local: "user", Domain: "localhost"}, Class: pipeline.Local}}
	}
	return pipeline.NewView(c, env, m), nil
}

// crlf gives a message from a file the line ends that mail has.
func crlf(b []byte) []byte {
	if bytes.Contains(b, []byte("\r\n")) {
		return b
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

func addresses(m *message.Message, name string) (out []string) {
	for _, v := range m.Header().Values(name) {
		for _, a := range message.ParseAddressList(v) {
			if a.Mark == message.Mailbox && a.Domain != "" {
				out = append(out, a.String())
			}
		}
	}
	return out
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// account is the mailbox that a recipient leads to.
func (s *scene) account(r pipeline.Recipient) smtp.Address {
	if a, err := smtp.ParseAddress(s.mailbox); err == nil && s.mailbox != "" {
		return a
	}
	local, _, _ := strings.Cut(r.Addr.Local, "+")
	return smtp.Address{Local: local, Domain: r.Addr.Domain}
}

func (s *scene) atRcpt(v *pipeline.View) *pipeline.View {
	r := v.Rcpts()[0]
	return v.AtRcpt(r.ID, s.account(r))
}

// resolver answers as was recorded, else from the zone file, else asks.
func (s *scene) resolver() (dns.Resolver, error) {
	switch {
	case s.zone != "":
		return dns.ReadZone(s.zone)
	case len(s.asked) > 0:
		return recorded(s.asked), nil
	}
	return dns.NewClient(dns.ClientConfig{})
}

// recorded answers what was asked before; nothing else is known.
type recorded []dns.Asked

// Lookup finds the recorded answer.
func (r recorded) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	for _, a := range r {
		if !strings.EqualFold(strings.TrimSuffix(name, "."), strings.TrimSuffix(a.Name, ".")) || a.Type != t.String() {
			continue
		}
		var out dns.Answer
		for _, text := range a.Answers {
			out.Records = append(out.Records, dns.Record{Type: t, Text: text})
		}
		for _, err := range []error{dns.ErrNoName, dns.ErrNoData} {
			if a.Err != "" && strings.Contains(a.Err, err.Error()) {
				return out, err
			}
		}
		if a.Err != "" {
			return out, dns.ErrTemporary
		}
		return out, nil
	}
	return dns.Answer{}, dns.ErrTemporary
}

// filter makes a filter of a script, as a configuration would.
func (s *scene) filter(script string, log io.Writer) (pipeline.Filter, error) {
	path, err := filepath.Abs(script)
	if err != nil {
		return nil, err
	}
	block := "script = " + quote(path) + "\nmaps = {"
	for _, m := range s.maps {
		name, file, ok := strings.Cut(m, "=")
		if !ok {
			return nil, fmt.Errorf("--map: %q is not NAME=FILE", m)
		}
		if file, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		block += "\n" + quote(name) + " = " + quote(file)
	}
	kind := lua.Kind(nil)
	b, diags := config.ParseBlock(block+"\n}\n", config.BlockType{Name: "filter", Options: kind.Options})
	if diags != nil {
		return nil, diags
	}
	resolver, err := s.resolver()
	if err != nil {
		return nil, err
	}
	if s.kv == nil {
		s.kv = &memory{}
	}
	return kind.New(b, pipeline.Env{Log: slog.New(slog.NewTextHandler(log, nil)), DNS: resolver, KV: s.kv, Now: time.Now})
}

// quote writes a string as HCL has it, without its templates.
func quote(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

// host is what the REPL is offered.
func (s *scene) host(out io.Writer) (*engine.Host, error) {
	resolver, err := s.resolver()
	if err != nil {
		return nil, err
	}
	return &engine.Host{DNS: resolver, KV: &memory{}, Log: func(l slog.Level, text string) { fmt.Fprintf(out, "%s %s\n", l, text) }}, nil
}

// run asks the script at each of its stages, and prints what it says.
func (s *scene) run(ctx context.Context, env *Env, script string, out io.Writer) error {
	f, err := s.filter(script, out)
	if err != nil {
		return env.Fail(exitData, "%s", env.Clean(err.Error()))
	}
	want := f.Stages()
	if s.stage != "" {
		stage, ok := pipeline.ParseStage(s.stage)
		if !ok || !want.Has(stage) {
			return env.Fail(exitUsage, "the script has no function %s, only %s", s.stage, want)
		}
		want = pipeline.At(stage)
	}
	v, err := s.view()
	if err != nil {
		return env.Fail(exitData, "%v", err)
	}
	p, err := pipeline.New("test", []*pipeline.Step{{Name: "script", Kind: "lua", Filter: f}}, pipeline.Env{Now: time.Now})
	if err != nil {
		return err
	}
	for stage := pipeline.Connect; stage <= pipeline.Queued; stage++ {
		if !want.Has(stage) {
			continue
		}
		if v, err = s.ask(ctx, env, p, v, stage, out); err != nil {
			return err
		}
	}
	return nil
}

// ask runs one stage, at Rcpt and Deliver for each recipient.
func (s *scene) ask(ctx context.Context, env *Env, p *pipeline.Pipeline, v *pipeline.View, stage pipeline.Stage, out io.Writer) (*pipeline.View, error) {
	if stage != pipeline.Rcpt && stage != pipeline.Deliver {
		return s.askOne(ctx, env, p, v, stage, "", out)
	}
	for _, r := range v.Rcpts() {
		one := v.AtRcpt(r.ID, s.account(r))
		if stage == pipeline.Rcpt {
			one = v.AtRcpt(r.ID, smtp.Address{})
		}
		if _, err := s.askOne(ctx, env, p, one, stage, " "+r.Addr.Path(), out); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (s *scene) askOne(ctx context.Context, env *Env, p *pipeline.Pipeline, v *pipeline.View, stage pipeline.Stage, who string, out io.Writer) (*pipeline.View, error) {
	f := p.OpenView(v)
	defer f.Close()
	fate := f.Run(ctx, stage)
	for _, e := range f.Trace().Events {
		if e.Err != "" {
			return nil, env.Fail(exitData, "%s%s: %s", stage, who, env.Clean(e.Err))
		}
		fmt.Fprintf(out, "%s%s: %s\n", stage, env.Clean(who), strings.TrimSpace(fate.Action.String()+" "+e.Reply))
		for _, m := range e.Mods {
			fmt.Fprintf(out, "  %s\n", env.Clean(m))
		}
		if e.Note != "" {
			fmt.Fprintf(out, "  note: %s\n", env.Clean(e.Note))
		}
	}
	return f.View(), nil
}

// memory is state that ends with the command.
type memory struct {
	mu   sync.Mutex
	rows map[string]row
}

type row struct {
	value string
	until time.Time
}

// Get reads a key.
func (m *memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.get(key)
	return []byte(r.value), ok, nil
}

func (m *memory) get(key string) (row, bool) {
	r, ok := m.rows[key]
	return r, ok && (r.until.IsZero() || time.Now().Before(r.until))
}

// Set writes a key.
func (m *memory) Set(_ context.Context, key string, value []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, row{value: string(value), until: until(ttl)})
	return nil
}

func until(ttl time.Duration) time.Time {
	if ttl <= 0 {
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

func (m *memory) set(key string, r row) {
	if m.rows == nil {
		m.rows = map[string]row{}
	}
	m.rows[key] = r
}

// Add counts.
func (m *memory) Add(_ context.Context, key string, delta int64, ttl time.Duration) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.get(key)
	if !ok {
		r = row{value: "0", until: until(ttl)}
	}
	n, err := strconv.ParseInt(r.value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no counter", key)
	}
	r.value = strconv.FormatInt(n+delta, 10)
	m.set(key, r)
	return n + delta, nil
}

// newLines reads a line at a time, with its end.
func newLines(in io.Reader) func() (string, error) {
	r := bufio.NewReader(in)
	return func() (string, error) {
		line, err := r.ReadString('\n')
		if line != "" {
			return line, nil
		}
		return "", err
	}
}
