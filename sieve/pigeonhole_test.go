package sieve_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mtad/sieve"
	"mtad/sieve/mail"
)

// peerScript is a script that both engines run.
type peerScript struct {
	name     string // file and line
	text     string
	messages []string // names; none means all
}

// sections are the parts of a file that begin with "=== WORDS".
func sections(t testing.TB, file string, take func(line int, words []string, text string)) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	var text strings.Builder
	begin := 0
	for i, line := range strings.SplitAfter(string(b), "\n") {
		rest, ok := strings.CutPrefix(line, "===")
		if !ok {
			text.WriteString(line)
			continue
		}
		if begin > 0 {
			take(begin, words, text.String())
		}
		begin, words = i+1, strings.Fields(rest)
		text.Reset()
	}
	take(begin, words, text.String())
}

// peerScripts are those of testdata/peer. Where Pigeonhole 0.5.19 departs from
// the RFCs they keep away from it, or differences says so.
func peerScripts(t testing.TB) (out []peerScript) {
	t.Helper()
	files, err := filepath.Glob("testdata/peer/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if base := filepath.Base(file); base == "messages" || base == "includes" {
			continue
		}
		sections(t, file, func(line int, words []string, text string) {
			out = append(out, peerScript{fmt.Sprintf("%s:%d", filepath.Base(file), line), text, words})
		})
	}
	return out
}

func peerMessages(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	sections(t, "testdata/peer/messages", func(_ int, words []string, text string) {
		out[words[0]] = strings.ReplaceAll(text, "\n", "\r\n")
	})
	return out
}

// peerIncludes are the scripts that scripts include, by "location/name".
func peerIncludes(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	sections(t, "testdata/peer/includes", func(_ int, words []string, text string) {
		out[words[0]+"/"+words[1]] = text
	})
	return out
}

// TestAgainstPigeonhole runs every script over every message in both engines:
// they must refuse the same scripts and take the same actions.
func TestAgainstPigeonhole(t *testing.T) {
	program, err := exec.LookPath("sieve-test")
	if err != nil {
		t.Skip("sieve-test not installed")
	}
	messages := peerMessages(t)
	scripts := peerScripts(t)
	includes := peerIncludes(t)
	opts := sieve.Options{Include: func(location, name string) (string, error) {
		if text, ok := includes[location+"/"+name]; ok {
			return text, nil
		}
		return "", fs.ErrNotExist
	}}
	peer := newPigeonhole(t, program, messages, includes, scripts)
	var differ sync.Map // scripts of differences, which must differ for some message
	t.Cleanup(func() {
		for name := range differences {
			if _, ok := differ.Load(name); !ok && !t.Failed() {
				t.Errorf("%s does not differ any more: take it from the list", name)
			}
		}
	})
	for i, s := range scripts {
		names := s.messages
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(messages))
		}
		for _, name := range names {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				what := peer.difference(t, i, s.text, name, messages[name], opts)
				switch {
				case differences[s.name] == "" && what != "":
					t.Error(what)
				case what != "":
					differ.Store(s.name, true)
				}
			})
		}
	}
}

// difference is what the two engines differ in, "" for nothing.
func (p *pigeonhole) difference(t *testing.T, i int, text, name, message string, opts sieve.Options) string {
	t.Helper()
	want, ok := p.run(t, i, text, name)
	script, problems := sieve.Compile(text, opts)
	if (script != nil) != ok {
		return fmt.Sprintf("%s\npigeonhole accepts it: %v, here:\n%s", text, ok, problems.String())
	}
	if !ok {
		return ""
	}
	r, err := script.Run(context.Background(), peerEnv(parseRaw(t, message)))
	got := peerForm(r)
	if err != nil {
		got = "error\n"
	}
	if got != want {
		return fmt.Sprintf("%s\n--- here %v\n%s--- pigeonhole\n%s", text, err, got, want)
	}
	return ""
}

// peerEnv is what sieve-test gives scripts, as newPigeonhole configures it.
func peerEnv(m *mail.Message) sieve.Env {
	number := func(name string) (float64, bool) {
		for _, v := range m.Header(name) {
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				return f, true
			}
		}
		return 0, false
	}
	return sieve.Env{
		Message:  m,
		Envelope: sieve.Envelope{From: addr("sender@example.net"), To: addr("user+box@example.org")},
		Environment: func(item string) (string, bool) {
			s, ok := map[string]string{"phase": "post", "location": "MS", "name": "x", "vnd.dovecot.default-mailbox": "INBOX"}[item]
			return s, ok
		},
		Spam: func() (float64, bool) {
			f, ok := number("X-Spam-Score")
			return f * 10, ok
		},
		Virus: func() (int, bool) {
			f, ok := number("X-Virus-Scan")
			return int(f), ok
		},
		Notifier: mailto{}, Mailboxes: onlyInbox{},
	}
}

type mailto struct{}

func (mailto) Valid(uri string) bool { return strings.HasPrefix(uri, "mailto:") }

func (mailto) Capability(_ context.Context, _, name string) (string, bool) {
	return "maybe", name == "online"
}

type onlyInbox struct{}

func (onlyInbox) Exists(_ context.Context, name string) (bool, error) { return name == "INBOX", nil }
func (onlyInbox) Special(context.Context, string, string) (string, bool, error) {
	return "", false, nil
}
func (onlyInbox) ByID(context.Context, string) (string, bool, error) { return "", false, nil }
func (onlyInbox) Annotation(context.Context, string, string) (string, bool, error) {
	return "", false, nil
}

// peerForm is a result in the words of pigeonhole.run.
func peerForm(r sieve.Result) string {
	var b strings.Builder
	for _, a := range r.Actions {
		if a.Implicit {
			b.WriteString("implicit ")
		}
		switch a.Kind {
		case sieve.Keep:
			b.WriteString("store INBOX\n")
		case sieve.FileInto:
			b.WriteString("store " + a.Mailbox + "\n")
		case sieve.Redirect:
			b.WriteString("redirect " + a.Address.String() + "\n")
		case sieve.Discard:
			b.WriteString("discard\n")
		case sieve.Reject:
			b.WriteString("reject " + strings.ReplaceAll(a.Reason, "\r\n", "??") + "\n")
		case sieve.Vacate:
			fmt.Fprintf(&b, "vacation %d subject %q handle %v\n%s\n", int(a.Vacation.Interval.Seconds()), a.Vacation.Subject, a.Vacation.Handle == "h", strings.TrimSpace(strings.ReplaceAll(a.Vacation.Reason, "\r\n", "\n")))
		case sieve.Notify:
			fmt.Fprintf(&b, "notify %d %q %s\n", a.Notification.Importance, a.Notification.Message, strings.TrimPrefix(a.Notification.Method, "mailto:"))
		case sieve.Pipe:
			fmt.Fprintf(&b, "pipe %s try %v\n", a.Program.Name, a.Program.Try)
		case sieve.SendReport:
			fmt.Fprintf(&b, "report %s %s\n", a.Report.Feedback, a.Address)
		}
		if a.SpecialUse != "" {
			b.WriteString("special " + a.SpecialUse + "\n")
		}
		if a.Create {
			b.WriteString("create\n")
		}
		flags := slices.Clone(a.Flags)
		for i := range flags {
			flags[i] = strings.ToLower(flags[i])
		}
		slices.Sort(flags)
		if len(flags) > 0 {
			b.WriteString("flags " + strings.Join(flags, " ") + "\n")
		}
	}
	return b.String()
}

// differences are the scripts that the engines differ on, and why.
var differences = map[string]string{
	"include:21":    "it refuses recursion before it is run, which RFC 6609, 3.1 forbids",
	"include:23":    "likewise",
	"include:27":    "it refuses what RFC 6609, 3.2 lets be put there later",
	"mailbox:21":    "it merges what goes to a name with what goes to a special use, whose folder may be another",
	"mailbox:27":    "without a place for annotations it fails; we have none then",
	"mime:45":       "it refuses the field of the example in RFC 5703, 4.2",
	"spamtest:17":   "it counts 1 even where nothing was tested, RFC 5235, 3.2.2 wants 0",
	"regex:11":      "it has no :quoteregex",
	"regex:3":       "its expressions match octets, ours characters",
	"programs:25":   "a program that is not there is an error to it where execute is a command; to us it is a program that failed",
	"programs:1":    "its report knows nothing of the implicit keep that pipe cancels",
	"programs:7":    "likewise",
	"mixed:9":       "it has no ereject",
	"mime:23":       "it counts octets for :first, RFC 5703, 7 characters",
	"mime:19":       "it calls its own binary corrupt",
	"mailbox:17":    "without a place for annotations it fails; we have none then",
	"mailbox:19":    "likewise",
	"date:13":       "it takes the first field whatever :index says",
	"date:25":       "it takes an unknown part of a date for an error of running",
	"date:27":       "it ignores a zone that is none",
	"editheader:27": "it takes :last without :index, which RFC 5293, 5 has not",
	"body:22":       "a message without a body has no :raw body to it; to us it has an empty one",
}

type pigeonhole struct{ program, dir, config string }

// newPigeonhole makes a place where sieve-test, which gives up root, can work.
func newPigeonhole(t *testing.T, program string, messages, includes map[string]string, scripts []peerScript) *pigeonhole {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"personal", "global"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	name := "nobody"
	if os.Getuid() != 0 {
		u, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		name = u.Username
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("no user %s to run sieve-test as", name)
	}
	p := &pigeonhole{program, dir, filepath.Join(dir, "dovecot.conf")}
	write(t, p.config, fmt.Sprintf(peerConfig, u.Uid, u.Gid, dir))
	for name, m := range messages {
		write(t, filepath.Join(dir, name+".eml"), m)
	}
	for name, s := range includes {
		write(t, filepath.Join(dir, name+".sieve"), s)
	}
	for i, s := range scripts {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.sieve", i)), s.text)
	}
	return p
}

const peerConfig = `mail_uid = %[1]s
mail_gid = %[2]s
mail_location = mbox:%[3]s/mail
ssl = no
log_path = /dev/stderr
recipient_delimiter = +
plugin {
  recipient_delimiter = +
  sieve_plugins = sieve_extprograms
  sieve = file:%[3]s/personal
  sieve_global = %[3]s/global
  sieve_extensions = +editheader +vacation-seconds +spamtest +spamtestplus +virustest +mboxmetadata +servermetadata +vnd.dovecot.debug +vnd.dovecot.environment +vnd.dovecot.report +special-use +vnd.dovecot.pipe +vnd.dovecot.filter +vnd.dovecot.execute
  sieve_pipe_bin_dir = %[3]s
  sieve_filter_bin_dir = %[3]s
  sieve_execute_bin_dir = %[3]s
  sieve_redirect_max_total = 5
  sieve_max_redirects = 5
  sieve_spamtest_status_header = X-Spam-Score: (-?[0-9.]+)
  sieve_spamtest_status_type = score
  sieve_spamtest_max_value = 10
  sieve_virustest_status_header = X-Virus-Scan: ([0-9])
  sieve_virustest_status_type = score
  sieve_virustest_max_value = 5
}
`

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run is what sieve-test would do, one action a line; false if it refuses the
// script.
func (p *pigeonhole) run(t *testing.T, i int, text, message string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.program, "-c", p.config, "-C", "-f", "sender@example.net", "-a", "user+box@example.org", "-r", "user+box@example.org",
		filepath.Join(p.dir, fmt.Sprintf("%d.sieve", i)), filepath.Join(p.dir, message+".eml"))
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "failed to compile sieve script") {
		return "", false
	}
	if os.Getenv("PEER_SHOW") != "" {
		t.Logf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "failure; implicit keep") || strings.Contains(string(out), "final result: failed") {
		return "error\n", true
	}
	_, report, _ := strings.Cut(string(out), "Performed actions:")
	return peerActions(report), true
}

// peerActions reads the report of sieve-test.
func peerActions(report string) string {
	var b strings.Builder
	implicit, inside := "", false
	fields := map[string]string{}
	var text []string
	value := func(line, key string) (string, bool) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "=> "+key)
		if !ok {
			return "", false
		}
		_, v, ok := strings.Cut(rest, ":")
		return strings.TrimSpace(v), ok
	}
	pending := func() {}
	flush := func() {
		pending()
		pending = func() {}
		clear(fields)
		text = nil
	}
	for line := range strings.Lines(report) {
		line = strings.TrimRight(line, "\r\n")
		for _, key := range []string{"seconds", "subject", "handle", "importance", "message", "try"} {
			if v, ok := value(line, key); ok && !inside {
				fields[key] = v
			}
		}
		action, isAction := strings.CutPrefix(line, " * ")
		trimmed := strings.TrimSpace(line)
		switch {
		case line == "START MESSAGE":
			inside = true
		case line == "END MESSAGE":
			inside = false
		case inside:
			text = append(text, line)
		case strings.HasPrefix(line, "Implicit keep:"):
			flush()
			implicit = "implicit "
		case strings.HasPrefix(trimmed, "+ add IMAP flags: "):
			flags := strings.Fields(strings.TrimPrefix(trimmed, "+ add IMAP flags: "))
			slices.Sort(flags)
			b.WriteString("flags " + strings.Join(flags, " ") + "\n")
		case trimmed == "+ create mailbox if it does not exist":
			b.WriteString("create\n")
		case strings.HasPrefix(trimmed, "+ use mailbox with special-use flag `"):
			use, _, _ := strings.Cut(strings.TrimPrefix(trimmed, "+ use mailbox with special-use flag `"), "'")
			b.WriteString("special " + use + "\n")
		case strings.HasPrefix(trimmed, "+ To: "):
			fields["to"] = strings.TrimPrefix(trimmed, "+ To: ")
		case !isAction:
		case strings.HasPrefix(action, "store message in folder: "):
			flush()
			b.WriteString(implicit + "store " + action[len("store message in folder: "):] + "\n")
		case strings.HasPrefix(action, "redirect message to: "):
			flush()
			b.WriteString("redirect " + strings.Trim(action[len("redirect message to: "):], "<>") + "\n")
		case strings.HasPrefix(action, "reject message with reason: "):
			flush()
			b.WriteString("reject " + action[len("reject message with reason: "):] + "\n")
		case action == "send vacation message:":
			flush()
			pending = func() {
				fmt.Fprintf(&b, "vacation %s subject %q handle %v\n%s\n", fields["seconds"], fields["subject"], fields["handle"] == "h", strings.TrimSpace(strings.Join(text, "\n")))
			}
		case strings.HasPrefix(action, "send notification"):
			flush()
			pending = func() {
				fmt.Fprintf(&b, "notify %s %q %s\n", strings.Fields(fields["importance"])[0], fields["subject"], fields["to"])
			}
		case strings.HasPrefix(action, "pipe message to external program"):
			flush()
			name := strings.Split(action, "'")[1]
			pending = func() { fmt.Fprintf(&b, "pipe %s try %v\n", name, fields["try"] == "yes") }
		case strings.HasPrefix(action, "report incoming message as `"):
			flush()
			kind, to, _ := strings.Cut(strings.TrimPrefix(action, "report incoming message as `"), "' to: ")
			b.WriteString("report " + kind + " " + strings.Trim(to, "<>") + "\n")
		case strings.HasPrefix(action, "track "): // of the test duplicate
		default:
			flush()
			b.WriteString(action + "\n")
		}
	}
	flush()
	return b.String()
}
