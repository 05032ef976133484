package netrule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mtad/spam/ask"
	"mtad/spam/conf"
	"mtad/spam/eval"
	"mtad/spam/scan"
)

// pyzorEval is the function of Pyzor, which counts reports of messages. Its program
// must be installed.
var pyzorEval = map[string]eval.Func{"check_pyzor": checkPyzor}

// pyzorProgram finds the program.
func pyzorProgram(r *conf.Ruleset) (string, error) {
	if path := r.String("pyzor_path"); path != "" {
		return exec.LookPath(path)
	}
	return exec.LookPath("pyzor")
}

func checkPyzor(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	a := &inquirer{s: s}
	if s.Ask == nil || !s.Rules.Bool("use_pyzor") {
		return 0, nil
	}
	t := time.Duration(s.Rules.Number("pyzor_timeout") * float64(time.Second))
	reply := s.Ask.Run(ask.Question{Name: "pyzor", Type: "PYZOR"}, t, func(ctx context.Context) (ask.Answer, error) {
		text, err := runPyzor(ctx, s)
		return ask.Answer{Records: []ask.Record{{Type: "PYZOR", Text: text}}}, err
	})
	if !a.note(reply) {
		return a.outcome(false)
	}
	reports, welcome, err := readPyzor(reply.Records[0].Text)
	if err != nil {
		return 0, eval.Unknown(err.Error())
	}
	s.SetTag("PYZOR", fmt.Sprintf("Reported %d times, welcomelisted %d times.", reports, welcome))
	return a.outcome(pyzorHit(s.Rules, reports, welcome))
}

// Counts from which on they mean nothing: those of empty messages.
const (
	emptyReports = 1_000_000
	emptyWelcome = 10_000
)

func pyzorHit(r *conf.Ruleset, reports, welcome int) bool {
	if reports >= emptyReports || welcome >= emptyWelcome {
		return false
	}
	limit := 0.0
	if float64(welcome) >= r.Number("pyzor_welcomelist_min") {
		limit = float64(reports) * r.Number("pyzor_welcomelist_factor")
	}
	return (limit == 0 || float64(welcome) < limit) && float64(reports) >= r.Number("pyzor_count_min")
}

// maxPyzor is how much the program may answer, in octets.
const maxPyzor = 16 << 10

// runPyzor runs "pyzor check" on the message.
func runPyzor(ctx context.Context, s *scan.Scan) (string, error) {
	path, err := pyzorProgram(s.Rules)
	if err != nil {
		return "", fmt.Errorf("Pyzor: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, append(strings.Fields(s.Rules.String("pyzor_options")), "check")...)
	cmd.Stdin = io.MultiReader(bytes.NewReader(s.Mail.Head), bytes.NewReader(s.Mail.Body))
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout = &limited{&out, maxPyzor}
	err = cmd.Run()
	var status *exec.ExitError
	// It exits with 1 for what nobody has reported.
	if err != nil && (!errors.As(err, &status) || status.ExitCode() != 1) {
		return "", fmt.Errorf("Pyzor: %w", err)
	}
	return out.String(), nil
}

// limited takes no more than left octets, and loses the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	if _, err := l.w.Write(p[:n]); err != nil {
		return 0, err
	}
	return len(p), nil
}

var pyzorLine = regexp.MustCompile(`^\S+\t.*?\t(\d{1,9})\t(\d{1,9})\s*$`)

// readPyzor adds up the lines of several servers: "host:port (200, 'OK') reports welcomes".
func readPyzor(text string) (reports, welcome int, err error) {
	read := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "Traceback") {
			return 0, 0, errors.New("Pyzor: the program has failed")
		}
		if m := pyzorLine.FindStringSubmatch(line); m != nil {
			r, _ := strconv.Atoi(m[1])
			w, _ := strconv.Atoi(m[2])
			reports, welcome, read = reports+r, welcome+w, true
		}
	}
	if !read {
		return 0, 0, errors.New("Pyzor: no server has answered")
	}
	return reports, welcome, nil
}

const noRazor = "Razor: this program does not speak its protocol"

// razorEval are the functions of Razor.
var razorEval = map[string]eval.Func{"check_razor2": checkRazor, "check_razor2_range": checkRazor}

func checkRazor(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if s.Ask == nil || !s.Rules.Bool("use_razor2") {
		return 0, nil
	}
	return 0, eval.Unknown(noRazor)
}

// Off says why a function can not be offered on this machine, "" if it can.
func Off(r *conf.Ruleset, function string) string {
	switch function {
	case "check_dcc", "check_dcc_reputation_range":
		if network, address := dccAddress(r); network == "unix" && r.Bool("use_dcc") && !isSocket(address) {
			return "DCC: no dccifd at " + address + " (dcc_dccifd_path)"
		}
	case "check_pyzor":
		if _, err := pyzorProgram(r); err != nil && r.Bool("use_pyzor") {
			return "Pyzor: no program pyzor (pyzor_path)"
		}
	case "check_razor2", "check_razor2_range":
		if r.Bool("use_razor2") {
			return noRazor
		}
	}
	return ""
}
