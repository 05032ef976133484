package admin

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"mtad/directory"
)

func scriptOf(s directory.Script) Script {
	return Script{Name: s.Name, Size: s.Size, Active: s.Active, Changed: s.Changed}
}

// owner finds the user whose script it is, and the language.
func (s *Server) owner(ctx context.Context, address, lang string) (directory.User, directory.Language, error) {
	in, err := language(lang)
	if err != nil {
		return directory.User{}, "", err
	}
	u, err := s.cfg.Directory.User(ctx, address)
	return u, in, about(address, err)
}

// language is what a call's scripts are written in; "" is Sieve.
func language(name string) (directory.Language, error) {
	switch l := directory.Language(name); l {
	case "":
		return directory.Sieve, nil
	case directory.Sieve, directory.Lua, directory.SpamPreferences:
		return l, nil
	}
	return "", &Error{Usage, "no language " + strconv.Quote(name) + ": there are sieve, lua and spamassassin"}
}

func (s *Server) scripts(ctx context.Context, q url.Values) ([]Script, error) {
	u, lang, err := s.owner(ctx, q.Get("user"), q.Get("language"))
	if err != nil {
		return nil, err
	}
	found, err := s.cfg.Directory.Scripts(ctx, u.ID, lang)
	out := []Script{}
	for _, one := range found {
		out = append(out, scriptOf(one))
	}
	return out, err
}

// oneScript is a script with its text.
func (s *Server) oneScript(ctx context.Context, q url.Values) (Script, error) {
	u, lang, err := s.owner(ctx, q.Get("user"), q.Get("language"))
	if err != nil {
		return Script{}, err
	}
	name := q.Get("name")
	text, err := s.cfg.Directory.ScriptText(ctx, u.ID, lang, name)
	return Script{User: u.Address, Name: name, Size: int64(len(text)), Text: text}, about(name, err)
}

// putScript stores a script that the checker has nothing against.
func (s *Server) putScript(ctx context.Context, in Script) (none, error) {
	u, lang, err := s.owner(ctx, in.User, in.Language)
	if err != nil {
		return none{}, err
	}
	if err := s.checkScript(ctx, u, lang, in.Name, in.Text); err != nil {
		return none{}, err
	}
	return none{}, about(in.Name, s.cfg.Directory.PutScript(ctx, u.ID, lang, in.Name, in.Text))
}

// checkScript is what the checker has against a user's script.
func (s *Server) checkScript(ctx context.Context, u directory.User, lang directory.Language, name, text string) error {
	if s.cfg.CheckScript == nil {
		return nil
	}
	if problems := s.cfg.CheckScript(ctx, string(lang), u.Address, name, text); problems != "" {
		return &Error{BadData, problems}
	}
	return nil
}

// activateScript makes a script the one that runs; with the name "" none does. It
// is checked again: what is offered may have changed since it was stored.
func (s *Server) activateScript(ctx context.Context, in Script) (none, error) {
	u, lang, err := s.owner(ctx, in.User, in.Language)
	if err != nil {
		return none{}, err
	}
	if in.Name != "" {
		text, err := s.cfg.Directory.ScriptText(ctx, u.ID, lang, in.Name)
		if err == nil {
			err = s.checkScript(ctx, u, lang, in.Name, text)
		}
		if err != nil {
			return none{}, about(in.Name, err)
		}
	}
	return none{}, about(in.Name, s.cfg.Directory.ActivateScript(ctx, u.ID, lang, in.Name))
}

func (s *Server) deleteScript(ctx context.Context, in Script) (none, error) {
	u, lang, err := s.owner(ctx, in.User, in.Language)
	if err != nil {
		return none{}, err
	}
	err = s.cfg.Directory.DeleteScript(ctx, u.ID, lang, in.Name)
	if errors.Is(err, directory.ErrInUse) {
		return none{}, &Error{No, in.Name + " is active; activate another, or none, first"}
	}
	return none{}, about(in.Name, err)
}
