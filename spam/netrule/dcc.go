package netrule

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
)

// dccEval are the functions of DCC, which counts how often a message was seen. A daemon
// of it, dccifd, must run on this machine or at the address of dcc_dccifd_path.
var dccEval = map[string]eval.Func{
	"check_dcc": func(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
		a := &inquirer{s: s}
		c, ok := a.dcc()
		return a.outcome(ok && c.bulk(s.Rules))
	},
	"check_dcc_reputation_range": func(s *scan.Scan, _ *conf.Rule, args []string) (float64, error) {
		a := &inquirer{s: s}
		if !s.Rules.Bool("use_dcc_rep") {
			return 0, nil
		}
		c, ok := a.dcc()
		least, _ := strconv.Atoi(eval.Arg(args, 0))
		most, err := strconv.Atoi(eval.Arg(args, 1))
		if err != nil {
			most = 100
		}
		return a.outcome(ok && c.rep >= least && c.rep <= most)
	},
}

// isSocket reports whether there is a socket at a path.
func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeSocket != 0
}

// dccCounts are what DCC counts; rep is -1 if it has no reputation.
type dccCounts struct{ body, fuz1, fuz2, rep int }

func (c dccCounts) bulk(r *conf.Ruleset) bool {
	return float64(c.body) >= r.Number("dcc_body_max") || float64(c.fuz1) >= r.Number("dcc_fuz1_max") || float64(c.fuz2) >= r.Number("dcc_fuz2_max") || float64(c.rep) >= r.Number("dcc_rep_percent")
}

// dccAddress is where dccifd listens.
func dccAddress(r *conf.Ruleset) (network, address string) {
	path := r.String("dcc_dccifd_path")
	if host, _, err := net.SplitHostPort(path); err == nil && host != "" && !strings.HasPrefix(path, "/") {
		return "tcp", path
	}
	if path == "" {
		home := r.String("dcc_home")
		if home == "" {
			home = "/var/dcc"
		}
		path = home + "/dccifd"
	}
	return "unix", path
}

var dccHeader = regexp.MustCompile(`(?s)^X-DCC-([^:]*?)-Metrics: (.*)$`)

func (a *inquirer) dcc() (c dccCounts, ok bool) {
	s := a.s
	if s.Ask == nil || !s.Rules.Bool("use_dcc") {
		return c, false
	}
	t := time.Duration(s.Rules.Number("dcc_timeout") * float64(time.Second))
	reply := s.Ask.Run(ask.Question{Name: "dccifd", Type: "DCC"}, t, func(ctx context.Context) (ask.Answer, error) {
		line, err := askDCC(ctx, s)
		return ask.Answer{Records: []ask.Record{{Type: "DCC", Text: line}}}, err
	})
	if !a.note(reply) {
		return c, false
	}
	line := reply.Records[0].Text
	if m := dccHeader.FindStringSubmatch(line); m != nil {
		s.SetTag("DCCB", m[1])
		s.SetTag("DCCR", m[2])
	}
	c = readDCC(line)
	if c.rep >= 0 && s.Rules.Bool("use_dcc_rep") {
		s.SetTag("DCCREP", strconv.Itoa(c.rep))
	}
	return c, true
}

// note notes what has become of a reply; it reports whether that is an answer.
func (a *inquirer) note(r ask.Reply) bool {
	switch r.State {
	case ask.Pending:
		a.pending = true
	case ask.Lost:
		a.why = r.Why
	}
	return r.State == ask.Answered
}

var (
	dccMany  = regexp.MustCompile(`(?i)many`)
	dccOK    = regexp.MustCompile(`(?i)ok\d?`)
	dccCount = regexp.MustCompile(`\b(Body|Fuz1|Fuz2|rep)=(\d{1,9})`)
)

// readDCC reads "X-DCC-brand-Metrics: host 1234; Body=many Fuz1=5 rep=10%".
func readDCC(line string) dccCounts {
	line = dccOK.ReplaceAllString(dccMany.ReplaceAllString(line, "999999"), "0")
	c := dccCounts{rep: -1}
	for _, m := range dccCount.FindAllStringSubmatch(line, -1) {
		n, _ := strconv.Atoi(m[2])
		*map[string]*int{"Body": &c.body, "Fuz1": &c.fuz1, "Fuz2": &c.fuz2, "rep": &c.rep}[m[1]] = n
	}
	return c
}

// maxDCC is how much dccifd may answer, in octets.
const maxDCC = 64 << 10

// askDCC asks dccifd about the message: lines with the client, its greeting, the sender
// and a recipient, and the message (dccifd(8)). It gives the field that DCC would add.
func askDCC(ctx context.Context, s *scan.Scan) (string, error) {
	network, address := dccAddress(s.Rules)
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return "", fmt.Errorf("DCC: no dccifd at %s: %w", address, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	client, helo := "", ""
	if len(s.Path.External) > 0 {
		r := s.Path.External[0]
		client, helo = r.IP+"\r"+r.RDNS, r.Helo
	}
	head := fmt.Sprintf("cksums grey-off\n%s\n%s\n\nunknown\n\n", oneLine(client), oneLine(helo))
	w := bufio.NewWriter(conn)
	io.WriteString(w, head)
	w.Write(s.Mail.Head)
	w.Write(s.Mail.Body)
	if err := w.Flush(); err != nil {
		return "", fmt.Errorf("DCC: %w", err)
	}
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := c.CloseWrite(); err != nil {
			return "", fmt.Errorf("DCC: %w", err)
		}
	}
	text, err := io.ReadAll(io.LimitReader(conn, maxDCC))
	if err != nil {
		return "", fmt.Errorf("DCC: %w", err)
	}
	return dccField(string(text))
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// dccField takes the field from an answer: behind two lines of status, folded with tabs.
func dccField(text string) (string, error) {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) < 3 || !strings.HasPrefix(lines[2], "X-DCC") {
		return "", errors.New("DCC: dccifd has not answered with an X-DCC field")
	}
	out := strings.TrimRight(lines[2], "\r\n")
	for _, l := range lines[3:] {
		if !strings.HasPrefix(l, "\t") {
			break
		}
		out += " " + strings.TrimSpace(l)
	}
	return out, nil
}
