package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"mtad/spam/spamtest"
)

// What the server with a filter of spam has to do.
const (
	memoryUsers  = 20 // who have preferences
	memoryTokens = 400_000
)

// devServer is a server in dev mode with the stock rules and a file of the site's.
type devServer struct {
	*system
	binary, config string
	rules          string // the site's
	log            string
	texts          [][]byte
	sent, refused  int
}

// spamMemory follows the memory of a whole server that judges spam: in the pipeline of a
// listener, and for users with preferences in that of local delivery.
func (b *bench) spamMemory() error {
	if _, err := os.Stat(spamtest.Stock); err != nil {
		fmt.Println("skipped: SpamAssassin's rules are not installed (make peers)")
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	d, err := b.startDev(filepath.Join(b.dir, "memory"), 10_000+port%40_000)
	if err != nil {
		return err
	}
	defer d.stop()
	fmt.Printf("\n%-44s %8s %8s %8s\n", "a server with a filter of spam, MiB", "PSS", "RSS", "in use")
	wait := func(seconds time.Duration) memoryStep {
		return memoryStep{fmt.Sprintf("%d s later", seconds), func() error { time.Sleep(seconds * time.Second); return nil }}
	}
	steps := []memoryStep{{"started, without any mail", func() error { return nil }}, {"400 messages", func() error { return d.send(400) }}}
	reloads := func(n int) {
		for range n {
			k := len(steps)
			steps = append(steps, memoryStep{"changed rules, reload, 40 messages", func() error { return errors.Join(d.reload(k), d.send(40)) }})
		}
	}
	reloads(6)
	steps = append(steps, wait(10), memoryStep{fmt.Sprintf("import of %d tokens", memoryTokens), func() error { return d.importTokens(memoryTokens) }}, memoryStep{"200 messages", func() error { return d.send(200) }},
		memoryStep{"400 messages learned", func() error { return d.learn(400) }})
	reloads(3)
	for _, s := range append(steps, wait(20)) {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if err := d.settle(); err != nil {
			return err
		}
		inUse, err := d.inUse()
		if err != nil {
			return err
		}
		fmt.Printf("%-44s %8d %8d %8s\n", "  "+s.name, d.memory()>>20, rollup(d.family(), rssLine)>>20, inUse)
	}
	fmt.Printf("  %d messages taken, %d refused\n", d.sent, d.refused)
	return nil
}

type memoryStep struct {
	name string
	do   func() error
}

// startDev makes the directory of dev mode by a first start, puts the filters into its
// configuration, and starts again. Its ports are the well-known ones above base.
func (b *bench) startDev(dir string, base int) (*devServer, error) {
	d := &devServer{system: &system{name: "mtad", addr: fmt.Sprintf("127.0.0.1:%d", base+25)}, binary: b.binary,
		config: filepath.Join(dir, "mtad.hcl"), rules: filepath.Join(b.dir, "site.cf"), log: filepath.Join(b.dir, "memory.log")}
	for _, m := range spamtest.LongCorpus(1, 200) {
		d.texts = append(d.texts, m.Text)
	}
	start := func() error { return d.start(dir, base) }
	if err := start(); err != nil {
		return nil, err
	}
	err := d.addUsers()
	d.stop()
	if err = errors.Join(err, d.writeRules(0), d.addFilters()); err != nil {
		return nil, err
	}
	if err := start(); err != nil {
		return nil, err
	}
	if err := d.addPreferences(); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func (d *devServer) start(dir string, base int) error {
	log, err := os.Create(d.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.binary, "serve", "--dev", "--dir", dir, "--base-port", fmt.Sprint(base))
	cmd.Env = append(os.Environ(), "GODEBUG=gctrace=1") // which tells what each collection finds
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	d.pid = cmd.Process.Pid
	d.stop = func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	}
	if _, err := awaitBanner(d.addr); err != nil {
		d.stop()
		said, _ := os.ReadFile(d.log)
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

func (d *devServer) addFilters() error {
	text, err := os.ReadFile(d.config)
	if err != nil {
		return err
	}
	rules := fmt.Sprintf("rules = [%q, %q, %q]", spamtest.Stock, spamtest.Site, d.rules)
	with := strings.Replace(string(text), "  filter \"thresholds\" {", "  filter \"spamscore\" \"rules\" { "+rules+" }\n  filter \"thresholds\" {", 1)
	with = strings.Replace(with, "pipeline \"delivery\" {\n", "pipeline \"delivery\" {\n  filter \"spamscore\" \"theirs\" {\n    "+rules+"\n    preferences = store()\n  }\n", 1)
	if strings.Count(with, "spamscore") != 2 {
		return fmt.Errorf("%s: there is no place for the filters", d.config)
	}
	return os.WriteFile(d.config, []byte(with), 0o644)
}

// writeRules changes the site's rules.
func (d *devServer) writeRules(n int) error {
	text := fmt.Sprintf("bayes_expiry_max_db_size %d\nbody SITE_RULE /the offer of day %d/i\nscore SITE_RULE 1\n", 2*memoryTokens, n)
	return os.WriteFile(d.rules, []byte(text), 0o644)
}

func memoryUser(i int) string { return fmt.Sprintf("user%d@example.test", i%memoryUsers) }

func (d *devServer) addUsers() error {
	for i := range memoryUsers {
		if err := d.command("secret\n", "user", "add", memoryUser(i), "--password-stdin"); err != nil {
			return err
		}
	}
	return nil
}

func (d *devServer) addPreferences() error {
	for i := range memoryUsers {
		text := fmt.Sprintf("required_score %d.5\nscore MISSING_DATE 0.%d\nwelcomelist_from friend%d@example.org\n", 3+i%5, i%10, i)
		if err := d.command(text, "spam", "prefs", "put", memoryUser(i)); err != nil {
			return err
		}
	}
	return nil
}

// command runs one of the program's commands, which talks to the server.
func (d *devServer) command(stdin string, args ...string) error {
	c := exec.Command(d.binary, append(args, "-c", d.config)...)
	c.Stdin = strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("mtad %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (d *devServer) reload(n int) error {
	return errors.Join(d.writeRules(n), d.command("", "reload"))
}

// send sends messages over two connections, to one user each.
func (d *devServer) send(n int) error {
	const clients = 2
	errs, refused := make([]error, clients), make([]int, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			var mine []int
			for i := c; i < n; i += clients {
				mine = append(mine, d.sent+d.refused+i)
			}
			refused[c], errs[c] = d.session(mine)
		})
	}
	wg.Wait()
	d.refused += refused[0] + refused[1]
	d.sent += n - refused[0] - refused[1]
	return errors.Join(errs...)
}

// session sends messages by their numbers over one connection.
func (d *devServer) session(numbers []int) (refused int, err error) {
	c, err := smtp.Dial(d.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for _, n := range numbers {
		err := errors.Join(c.Mail("a@sender.test"), c.Rcpt(memoryUser(n)))
		if err != nil {
			return refused, err
		}
		w, err := c.Data()
		if err != nil {
			return refused, err
		}
		_, err = w.Write(d.texts[n%len(d.texts)])
		var reply *textproto.Error
		switch cerr := w.Close(); {
		case err != nil:
			return refused, err
		case errors.As(cerr, &reply) && reply.Code >= 500:
			refused++
		case cerr != nil:
			return refused, cerr
		}
	}
	return refused, c.Quit()
}

// importTokens imports a backup of tokens that nobody has.
func (d *devServer) importTokens(n int) error {
	r := rand.New(rand.NewPCG(1, 2))
	text := &strings.Builder{}
	io.WriteString(text, "v\t3\tdb_version # this must be the first line!!!\nv\t2000\tnum_spam\nv\t2000\tnum_nonspam\n")
	for range n {
		fmt.Fprintf(text, "t\t%d\t%d\t%d\t%010x\n", r.IntN(20), 1+r.IntN(20), time.Now().Unix()-r.Int64N(20*86400), r.Int64N(1<<40))
	}
	for i := range 4000 {
		fmt.Fprintf(text, "s\t%c\t%d@sa_generated\n", "sh"[i%2], i)
	}
	return d.command(text.String(), "spam", "import", "--force", "-")
}

// learn has half of the messages learned as spam and half as ham.
func (d *devServer) learn(n int) error {
	dirs := map[string]string{"--spam": filepath.Join(filepath.Dir(d.rules), "spam"), "--ham": filepath.Join(filepath.Dir(d.rules), "ham")}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for i, m := range spamtest.LongCorpus(2, n) {
		if err := os.WriteFile(filepath.Join(dirs[[]string{"--spam", "--ham"}[i%2]], m.Name), m.Text, 0o644); err != nil {
			return err
		}
	}
	return errors.Join(d.command("", "spam", "learn", "--spam", dirs["--spam"]), d.command("", "spam", "learn", "--ham", dirs["--ham"]))
}

// collected is a line of GODEBUG=gctrace=1: the heap before, at the end of, and after a
// collection.
var collected = regexp.MustCompile(`(?m)^gc \d+ @.* \d+->\d+->(\d+) MB,`)

// inUse is what the last collection has found in use, MiB.
func (d *devServer) inUse() (string, error) {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return "", err
	}
	all := collected.FindAllSubmatch(text, -1)
	if all == nil {
		return "", fmt.Errorf("%s: no collection is told of", d.log)
	}
	return string(all[len(all)-1][1]), nil
}
