package managesieved

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"mtad/directory"
	"mtad/imapd/wire"
	"mtad/sieve"
)

// name takes a space and a script's name.
func (s *session) name() string {
	s.r.SP()
	return s.r.String()
}

// script takes a space and a script's text. One that is too large is
// directory.ErrTooBig, and is not kept in memory.
func (s *session) script(options sieve.Options) (string, error) {
	limit := directory.MaxScript
	if options.Limits.Script > 0 {
		limit = min(limit, options.Limits.Script)
	}
	s.r.SP()
	var text string
	if s.r.Peek('{') {
		l := s.r.Stream(int64(limit))
		if l == nil {
			return "", s.tooBig()
		}
		octets, err := io.ReadAll(l)
		if err != nil {
			return "", fatal{err}
		}
		text = string(octets)
	} else if text = s.r.String(); len(text) > limit {
		return "", directory.ErrTooBig
	}
	return text, s.r.End()
}

// tooBig is why a script's literal was refused.
func (s *session) tooBig() error {
	err := s.r.Err()
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) && syntax.Code == "TOOBIG" {
		return directory.ErrTooBig
	}
	return err
}

// Check compiles a script as it will be when it runs under a name. Other scripts
// of the account see it under that name already, which finds scripts that include
// each other. script is nil if it may not be stored; the error is that of reading a
// script that it includes.
func Check(options sieve.Options, name, text string) (script *sieve.Script, problems sieve.Problems, err error) {
	if others := options.Include; others != nil {
		options.Include = func(location, other string) (string, error) {
			if name != "" && location == "personal" && other == name {
				return text, nil
			}
			included, fault := others(location, other)
			if fault != nil && !errors.Is(fault, fs.ErrNotExist) {
				err = fault // not the script's, and not for the client
			}
			return included, fault
		}
	}
	script, problems = sieve.Compile(text, options)
	if err != nil {
		return nil, nil, fmt.Errorf("include: %w", err)
	}
	return script, problems, nil
}

// check is Check, and what to say of the script; good means that it may be stored.
func check(options sieve.Options, name, text string) (rep reply, good bool, err error) {
	script, problems, err := Check(options, name, text)
	if err != nil {
		return reply{}, false, err
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.Brief())
	}
	found := strings.Join(lines, "\r\n")
	switch {
	case script == nil:
		return no("", found), false, nil
	case found != "":
		return reply{status: "OK", code: "WARNINGS", text: found}, true, nil
	}
	return ok("The script is good"), true, nil
}

func (s *session) options() sieve.Options { return s.server.config.Options(s.ctx, s.account) }

// done logs a change of the account's scripts.
func (s *session) done(what, script string) {
	s.log.Info("managesieved: "+what, "account", s.account.Address, "script", script)
}

func (s *session) haveSpace() (reply, error) {
	name := s.name()
	s.r.SP()
	size := int64(s.r.Number())
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if limit := s.options().Limits.Script; limit > 0 && size > int64(limit) {
		return reply{}, directory.ErrTooBig
	}
	err := s.server.config.Directory.HasSpace(s.ctx, s.account.ID, directory.Sieve, name, size)
	return ok("There is room for it"), err
}

func (s *session) putScript() (reply, error) {
	name, options := s.name(), s.options()
	text, err := s.script(options)
	if err != nil {
		return reply{}, err
	}
	if text == "" { // RFC 5804, 2.6
		return no("", "The script is empty"), nil
	}
	rep, good, err := check(options, name, text)
	if !good {
		return rep, err
	}
	if err := s.server.config.Directory.PutScript(s.ctx, s.account.ID, directory.Sieve, name, text); err != nil {
		return reply{}, err
	}
	s.done("script stored", name)
	return rep, nil
}

func (s *session) checkScript() (reply, error) {
	options := s.options()
	text, err := s.script(options)
	if err != nil {
		return reply{}, err
	}
	rep, _, err := check(options, "", text)
	return rep, err
}

func (s *session) listScripts() (reply, error) {
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	scripts, err := s.server.config.Directory.Scripts(s.ctx, s.account.ID, directory.Sieve)
	if err != nil {
		return reply{}, err
	}
	for _, script := range scripts {
		s.w.Raw(quote(script.Name))
		if script.Active {
			s.w.Raw(" ACTIVE")
		}
		s.w.CRLF()
	}
	return ok("Completed"), nil
}

// setActive checks the script again: what is offered, and what it includes, may
// have changed since it came.
func (s *session) setActive() (reply, error) {
	name := s.name()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	rep := ok("No script is active")
	if name != "" {
		text, err := s.server.config.Directory.ScriptText(s.ctx, s.account.ID, directory.Sieve, name)
		if err != nil {
			return reply{}, err
		}
		var good bool
		if rep, good, err = check(s.options(), name, text); !good {
			return rep, err
		}
	}
	if err := s.server.config.Directory.ActivateScript(s.ctx, s.account.ID, directory.Sieve, name); err != nil {
		return reply{}, err
	}
	s.done("script activated", name)
	return rep, nil
}

func (s *session) getScript() (reply, error) {
	name := s.name()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	text, err := s.server.config.Directory.ScriptText(s.ctx, s.account.ID, directory.Sieve, name)
	if err != nil {
		return reply{}, err
	}
	// A literal even where it is short: some clients know nothing else here.
	s.w.Raw("{" + strconv.Itoa(len(text)) + "}\r\n")
	s.w.Raw(text)
	s.w.CRLF()
	return ok("Completed"), nil
}

func (s *session) deleteScript() (reply, error) {
	name := s.name()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if err := s.server.config.Directory.DeleteScript(s.ctx, s.account.ID, directory.Sieve, name); err != nil {
		return reply{}, err
	}
	s.done("script deleted", name)
	return ok("Deleted"), nil
}

func (s *session) renameScript() (reply, error) {
	from, to := s.name(), s.name()
	if err := s.r.End(); err != nil {
		return reply{}, err
	}
	if err := s.server.config.Directory.RenameScript(s.ctx, s.account.ID, directory.Sieve, from, to); err != nil {
		return reply{}, err
	}
	s.done("script renamed", to)
	return ok("Renamed"), nil
}
