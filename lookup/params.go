package lookup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"mtad/internal/logical"
)

// params are the settings of a table that asks a database: name = value, in a
// file of its own because it may have a password.
type params struct {
	path   string
	values map[string]string
	lines  map[string]int
	asked  map[string]bool
	errs   []error
}

func readParams(path string) (*params, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := &params{path: path, values: map[string]string{}, lines: map[string]int{}, asked: map[string]bool{}}
	for _, line := range logical.Lines(string(text), "") {
		name, value, ok := strings.Cut(line.Text, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, &LineError{path, line.Number, errors.New("want name = value")}
		}
		p.values[name], p.lines[name] = strings.TrimSpace(value), line.Number
	}
	return p, nil
}

// text is a setting, or else what is given.
func (p *params) text(name, otherwise string) string {
	p.asked[name] = true
	if v, ok := p.values[name]; ok {
		return v
	}
	return otherwise
}

func (p *params) errorf(name, format string, args ...any) {
	p.errs = append(p.errs, &LineError{p.path, p.lines[name], fmt.Errorf(format, args...)})
}

func (p *params) number(name string, otherwise, low, high int) int {
	v := p.text(name, strconv.Itoa(otherwise))
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.errorf(name, "%s = %q: want a number from %d to %d", name, v, low, high)
		return otherwise
	}
	return n
}

// seconds is a time, in seconds or with a unit.
func (p *params) seconds(name string, otherwise time.Duration) time.Duration {
	v := p.text(name, "")
	if v == "" {
		return otherwise
	}
	if _, err := strconv.Atoi(v); err == nil {
		v += "s"
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 || d > time.Hour {
		p.errorf(name, "%s = %q: want seconds, at most an hour", name, v)
		return otherwise
	}
	return d
}

func (p *params) yes(name string) bool {
	switch v := p.text(name, "no"); v {
	case "yes", "true":
		return true
	case "no", "false":
	default:
		p.errorf(name, "%s = %q: want yes or no", name, v)
	}
	return false
}

// require complains of a setting that is missing.
func (p *params) require(name string) string {
	v := p.text(name, "")
	if v == "" {
		p.errs = append(p.errs, fmt.Errorf("%s: %s is missing", p.path, name))
	}
	return v
}

// ignore takes settings that mean nothing here.
func (p *params) ignore(names ...string) {
	for _, n := range names {
		p.asked[n] = true
	}
}

// err is all that is wrong, settings that nobody asked for among it.
func (p *params) err() error {
	for name := range p.values {
		if !p.asked[name] {
			p.errorf(name, "unknown setting %q", name)
		}
	}
	return errors.Join(p.errs...)
}
