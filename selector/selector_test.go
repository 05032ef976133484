package selector

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

var columns = Columns{
	ID: "id", From: "sender", FromDomain: "origin", To: "rcpt", Domain: "domain", Reason: "why", Created: "created",
	Status: map[string]string{"held": "hold <> ''"}, StatusWords: "held",
}

func TestSQL(t *testing.T) {
	at := time.UnixMilli(5)
	for _, c := range []struct {
		sel   Selector
		where string
		args  int
	}{
		{Selector{}, "1", 0},
		{Selector{From: "A@b.test"}, "sender = ? COLLATE NOCASE", 1},
		{Selector{From: "<A@b.test>", To: "@C.test"}, "sender = ? COLLATE NOCASE AND domain = ?", 2},
		{Selector{From: "<>", Domain: "c.test"}, "sender = ? AND domain = ?", 2},
		{Selector{IDs: []string{"0sbcfsg00880k", "0SBCFSG00880M"}}, "id IN (SELECT value FROM json_each(?))", 1},
		{Selector{Reason: "50%"}, `why LIKE ? ESCAPE '\'`, 1},
		{Selector{Status: "held", Before: at, After: at}, "created < ? AND created > ? AND hold <> ''", 2},
	} {
		where, args, err := c.sel.SQL(columns)
		if err != nil || where != c.where || len(args) != c.args {
			t.Errorf("%+v: %s %v %v", c.sel, where, args, err)
		}
	}
	var e *Error
	for _, sel := range []Selector{{Status: "x"}, {IDs: []string{"x"}}, {IDs: make([]string, MaxIDs+1)}} {
		if _, _, err := sel.SQL(columns); !errors.As(err, &e) {
			t.Errorf("%.100v: %v", sel, err)
		}
	}
	if _, _, err := (Selector{To: "x@y"}).SQL(Columns{ID: "id"}); !errors.As(err, &e) || !strings.Contains(err.Error(), "by to") {
		t.Errorf("a column that is not there: %v", err)
	}
}

func TestFilter(t *testing.T) {
	sub := &Subject{
		ID: "0sbcfsg00880k", From: "Ann@Here.test", To: "bob@far.TEST", Status: "held", Reason: "quarantine: x", Dest: "route:a", Host: "mx",
		Age: 2 * time.Hour, Attempts: 3, Size: 2 << 20,
	}
	for filter, want := range map[string]bool{
		"":                                      true,
		`age > 3600 && size > 1 * MB`:           true,
		`from_domain == "here.test"`:            true,
		`domain == "far.test" && attempts == 4`: false,
		`startswith(reason, "quarantine") && status == "held" && host == "mx" && dest == "route:a" && id != "" && contains(to, "bob") && contains(from, "Ann")`: true,
	} {
		cond, err := (Selector{Filter: filter}).Filtered()
		if err != nil || cond.Eval(sub) != want {
			t.Errorf("%s: %v", filter, err)
		}
	}
	for _, filter := range []string{"age", "agee > 1", "age >", `from > 1`} {
		if _, err := (Selector{Filter: filter}).Filtered(); err == nil {
			t.Errorf("%s is taken", filter)
		}
	}
}

func TestFlags(t *testing.T) {
	now := time.Unix(100000, 0)
	for _, c := range []struct {
		args string
		all  bool
		bad  bool
		is   func(Selector) bool
	}{
		{"", false, false, Selector.IsZero},
		{"ALL", true, false, Selector.IsZero},
		{"0SBCFSG00880K 0sbcfsg00880m", false, false, func(s Selector) bool { return strings.Join(s.IDs, " ") == "0sbcfsg00880k 0sbcfsg00880m" }},
		{"ALL 0sbcfsg00880k", false, true, nil},
		{"all", false, true, nil},
		{"--age >2h --reason later", false, false, func(s Selector) bool { return s.Before.Equal(now.Add(-2*time.Hour)) && s.Reason == "later" }},
		{"--age <2h", false, false, func(s Selector) bool { return s.After.Equal(now.Add(-2 * time.Hour)) }},
		{"--age 2h", false, true, nil}, {"--age >x", false, true, nil}, {"--filter age", false, true, nil},
	} {
		var f Flags
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.Add(fs, "held")
		if err := fs.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		sel, all, err := f.Selector(fs.Args(), now)
		if (err != nil) != c.bad || err == nil && (all != c.all || !c.is(sel)) {
			t.Errorf("%s: %+v %v %v", c.args, sel, all, err)
		}
	}
}
