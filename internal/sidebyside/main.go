// Command sidebyside measures mtad beside Debian's Postfix, in one run that
// alternates them, so that what the machine does meanwhile meets both alike:
//
//	go run ./internal/sidebyside -mtad ./mtad -messages 2000 -rounds 3
//
// The load is Postfix's smtp-source, 10 KiB a message, over loopback without
// TLS. Both servers are private instances with their defaults for queue and
// sync; Postfix's limits of clients are lifted. Rows:
//
//   - accept: until the last reply; what was accepted is then discarded, by
//     Postfix's discard(8), by a Sieve script in mtad
//   - mailbox: until the last message is in a Maildir, or in INBOX; mtad runs a
//     Sieve script for each
//   - relay: until smtp-sink has the last message
//   - latency of one transaction on one connection
//   - accept and latency with 0, 1 and 3 milters that do nothing, and latency with
//     1 and 3 that take 5 ms for a command
//   - processor time a message, memory (PSS), time to the first banner
//   - spam: mtad beside SpamAssassin's spamd and rspamd, where they are installed, with
//     the long messages of spam/spamtest: one client after the other, and two at once
//   - spam-memory: memory (PSS, RSS, and what the last collection has found in use) of a whole
//     server in dev mode that judges such messages by the stock rules: after a start, mail,
//     reloads with changed rules, an import and lessons of Bayes. It needs no Postfix
//
// It prints medians, the median of the rounds' ratios, and their spread. It needs
// root and Postfix, else it says so and does nothing.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	b := bench{}
	only := ""
	flag.StringVar(&b.binary, "mtad", "./mtad", "the binary")
	flag.IntVar(&b.messages, "messages", 1000, "messages a round")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each server")
	flag.StringVar(&only, "only", "", "the rows of one kind: accept, mailbox, relay, latency, milter, start, spam or spam-memory")
	flag.Parse()
	if err := b.run(only); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

type bench struct {
	binary   string
	messages int
	rounds   int
	dir      string
}

// load is the way in which messages are sent.
type load struct {
	name     string
	args     []string // of smtp-source
	domains  int      // recipients' domains, one if 0
	fraction int      // of the messages, for slow ones
}

var loads = map[mode][]load{
	discard: {
		{name: "20 sessions, new connection each", args: []string{"-s", "20"}},
		{name: "20 sessions, reused", args: []string{"-s", "20", "-d"}},
		{name: "1 session", args: []string{"-s", "1", "-d"}, fraction: 2},
		{name: "100 sessions, new connection each", args: []string{"-s", "100"}},
		{name: "100 sessions, reused", args: []string{"-s", "100", "-d"}},
	},
	mailbox: {
		{name: "20 sessions, new connection each", args: []string{"-s", "20"}},
		{name: "20 sessions, reused", args: []string{"-s", "20", "-d"}},
		{name: "1 session", args: []string{"-s", "1", "-d"}, fraction: 2},
		{name: "100 sessions, reused", args: []string{"-s", "100", "-d"}},
	},
	relay: {
		{name: "one destination", args: []string{"-s", "20", "-d"}},
		{name: "50 domains", args: []string{"-s", "1", "-d"}, domains: 50},
	},
}

func (b *bench) run(only string) error {
	if why := missing(); why != "" && only != spamMemory {
		fmt.Println("skipped:", why)
		return nil
	}
	var err error
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "sidebyside-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	for _, m := range []mode{discard, mailbox, relay} {
		if only != "" && only != m.String() && (only != "latency" || m != discard) {
			continue
		}
		if err := b.compare(m, only); err != nil {
			return err
		}
	}
	if only == "" || only == "milter" {
		if err := b.milters(); err != nil {
			return err
		}
	}
	if only == "" || only == "start" {
		if err := b.starts(); err != nil {
			return err
		}
	}
	if only == "" || only == "spam" {
		if err := b.scorers(); err != nil {
			return err
		}
	}
	if only == "" || only == spamMemory {
		return b.spamMemory()
	}
	return nil
}

// spamMemory is the kind of rows that needs nobody else's program.
const spamMemory = "spam-memory"

// missing says what the other rows need and is not there, "" if all is.
func missing() string {
	for _, p := range []string{"smtp-source", "smtp-sink", "postfix"} {
		if _, err := exec.LookPath(p); err != nil {
			return p + " is not installed (make peers)"
		}
	}
	if os.Getuid() != 0 {
		return "a private Postfix needs root"
	}
	return ""
}

// compare starts both servers for one kind of work and measures it.
func (b *bench) compare(m mode, only string) error {
	pf, err := startPostfix(filepath.Join(b.dir, "postfix-"+m.String()), m)
	if err != nil {
		return err
	}
	defer pf.stop()
	mt, err := startMtad(filepath.Join(b.dir, "mtad-"+m.String()), b.binary, m)
	if err != nil {
		return err
	}
	defer mt.stop()
	if only != "latency" {
		fmt.Printf("\n%-36s %10s %10s   %-20s %s\n", m, "postfix/s", "mtad/s", "ratio (spread)", "CPU ms a message: postfix, mtad")
		for _, l := range loads[m] {
			if err := b.row(l, pf, mt); err != nil {
				return err
			}
		}
	}
	if m == discard && (only == "" || only == "latency") {
		if err := b.latency(pf, mt); err != nil {
			return err
		}
	}
	fmt.Printf("%-36s postfix %d idle, %d after; mtad %d idle, %d after\n", "memory, MiB (PSS)",
		pf.idle>>20, pf.memory()>>20, mt.idle>>20, mt.memory()>>20)
	return nil
}

// row alternates the servers under one load.
func (b *bench) row(l load, pf, mt *system) error {
	var rates, cpus [2][]float64
	var ratios []float64
	for range b.rounds {
		var round [2]float64
		for i, s := range []*system{pf, mt} {
			n := b.messages
			if l.fraction > 0 {
				n /= l.fraction
			}
			rate, cpu, err := s.run(l, n)
			if err != nil {
				return err
			}
			round[i] = rate
			rates[i], cpus[i] = append(rates[i], rate), append(cpus[i], cpu)
		}
		ratios = append(ratios, round[1]/round[0])
	}
	fmt.Printf("%-36s %10.0f %10.0f   %-20s %.2f, %.2f\n", "  "+l.name, median(rates[0]), median(rates[1]), spread(ratios), median(cpus[0]), median(cpus[1]))
	return nil
}

func (b *bench) latency(pf, mt *system) error {
	fmt.Printf("\n%-36s %10s %10s   %s\n", "latency of a transaction, ms", "postfix", "mtad", "postfix/mtad (spread)")
	var p50, p99 [2][]float64
	var r50, r99 []float64
	for range b.rounds {
		for i, s := range []*system{pf, mt} {
			times, err := transactions(s.addr, b.messages/4)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			p50[i], p99[i] = append(p50[i], at(times, 0.5)), append(p99[i], at(times, 0.99))
		}
		last := len(p50[0]) - 1
		r50, r99 = append(r50, p50[0][last]/p50[1][last]), append(r99, p99[0][last]/p99[1][last])
	}
	fmt.Printf("%-36s %10.2f %10.2f   %s\n", "  p50", median(p50[0]), median(p50[1]), spread(r50))
	fmt.Printf("%-36s %10.2f %10.2f   %s\n", "  p99", median(p99[0]), median(p99[1]), spread(r99))
	return nil
}

// starts measures the time from the command to the first banner.
func (b *bench) starts() error {
	fmt.Printf("\n%-36s %10s %10s\n", "start to first banner, ms", "postfix", "mtad")
	var ms [2][]float64
	for i := range b.rounds {
		pf, err := startPostfix(filepath.Join(b.dir, fmt.Sprint("start-postfix-", i)), discard)
		if err != nil {
			return err
		}
		pf.stop()
		mt, err := startMtad(filepath.Join(b.dir, fmt.Sprint("start-mtad-", i)), b.binary, discard)
		if err != nil {
			return err
		}
		mt.stop()
		ms[0], ms[1] = append(ms[0], pf.startMS), append(ms[1], mt.startMS)
	}
	fmt.Printf("%-36s %10.0f %10.0f\n", "", median(ms[0]), median(ms[1]))
	return nil
}

func median(v []float64) float64 { return at(v, 0.5) }

// at is a quantile.
func at(v []float64, q float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[int(q*float64(len(v)-1)+0.5)]
}

func spread(ratios []float64) string {
	return strings.TrimSpace(fmt.Sprintf("%.1f (%.1f to %.1f)", median(ratios), slices.Min(ratios), slices.Max(ratios)))
}
