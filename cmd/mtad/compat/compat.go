package compat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"mtad/admin"
	"mtad/config"
)

// Command is a program under another server's name.
type Command struct {
	Name  string
	Short string
	// Run is the program; it returns the exit code.
	Run func(ctx context.Context, env *Env, args []string) int
}

// Commands is the table of all that are built, by name.
func Commands() []Command {
	return []Command{
		{"doveconf", "Show settings by Dovecot's names", doveconf},
		{"mailq", "List the queue, as sendmail -bp does", mailq},
		{"newaliases", "Check the files of aliases", newaliases},
		{"postalias", "Check a file of aliases, or ask it", postalias},
		{"postcat", "Print a message in the queue", postcat},
		{"postconf", "Show or change settings by Postfix's names", postconf},
		{"postmap", "Check a lookup table, or ask it", postmap},
		{"postqueue", "List the queue, or try what is in it now", postqueue},
		{"postsuper", "Delete, hold, release and requeue messages", postsuper},
		{"qshape", "Show the queue by domain and age", qshape},
		{"sendmail", "Hand in mail, as programs do", sendmail},
	}
}

// Find finds the command of a name.
func Find(name string) (Command, bool) {
	for _, c := range Commands() {
		if c.Name == name {
			return c, true
		}
	}
	return Command{}, false
}

// Env is what a command is run in.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Now      func() time.Time
	// Connect makes a client of the server that runs on a configuration: a file,
	// a folder that holds mtad.hcl, or with "" the one that mtad looks for.
	Connect func(config string) (*admin.Client, error)
	// Local is what handing in mail is like with the same configuration, or by default
	// where the user may not read it.
	Local func(config string) Local
	// Settings are those that have a name of Postfix's or Dovecot's; Aliases are
	// the tables of the setting aliases; Set writes a setting.
	Settings func(config string, dovecot bool) ([]config.Setting, error)
	Aliases  func(config string) ([]string, error)
	Set      func(config, key, value string) error
}

// Local is what a program is held to that hands in mail. The server looks, too.
type Local struct {
	Dir   string // maildrop_directory; "": none
	Size  int64  // of a message, in octets
	Rcpts int    // of a message
}

// Exit codes: Postfix's postqueue exits with EX_UNAVAILABLE, its other programs
// with 1.
const (
	exitFatal       = 1
	exitUnavailable = 69
)

// failure is what ends a command.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

func fatalf(format string, args ...any) error { return &failure{fmt.Sprintf(format, args...)} }

// ended is the exit code of a command that came to err, which is printed as
// Postfix's programs do.
func (e *Env) ended(name string, code int, err error) int {
	var a *admin.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReader):
		return 0
	case errors.As(err, &a) && a.Code == admin.Permission:
		code = int(a.Code)
	}
	fmt.Fprintf(e.Err, "%s: fatal: %v\n", name, err)
	return code
}

// option is a flag that was given.
type option struct {
	flag byte
	arg  string
}

// getopt reads flags as getopt(3) does: spec names them, those with an argument
// before a colon. Options end at the first word that is none.
func getopt(args []string, spec string) (opts []option, rest []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		args = args[1:]
		if word == "--" {
			break
		}
		for i := 1; i < len(word); i++ {
			at := strings.IndexByte(spec, word[i])
			switch {
			case at < 0 || word[i] == ':':
				return nil, nil, fatalf("invalid option -- '%c'", word[i])
			case at+1 == len(spec) || spec[at+1] != ':':
				opts = append(opts, option{flag: word[i]})
				continue
			case i+1 < len(word):
				opts = append(opts, option{word[i], word[i+1:]})
			case len(args) == 0:
				return nil, nil, fatalf("option requires an argument -- '%c'", word[i])
			default:
				opts = append(opts, option{word[i], args[0]})
				args = args[1:]
			}
			break
		}
	}
	return opts, args, nil
}

// with connects to the server and runs fn.
func (e *Env) with(config string, fn func(*admin.Client) error) error {
	c, err := e.Connect(config)
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(c)
}

// Clean makes text from anywhere fit for one line of a terminal.
func Clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsGraphic(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
