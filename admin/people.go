package admin

import (
	"context"
	"errors"
	"net/url"

	"mtad/deliver/route"
	"mtad/directory"
	"mtad/mailbox"
	"mtad/smtp"
)

func (s *Server) domains(ctx context.Context, _ url.Values) ([]Domain, error) {
	found, err := s.cfg.Directory.Domains(ctx)
	out := []Domain{}
	for _, d := range found {
		out = append(out, Domain{d.Name, d.Class.String(), d.Of})
	}
	return out, err
}

// classes are the names of what the server does for a domain.
var classes = map[string]directory.DomainClass{
	"": directory.Local, "local": directory.Local, "relay": directory.Relay,
}

func (s *Server) addDomain(ctx context.Context, d Domain) (none, error) {
	if d.Of != "" {
		err := s.cfg.Directory.AddAliasDomain(ctx, d.Name, d.Of)
		if errors.Is(err, directory.ErrNoDomain) {
			return none{}, about(d.Of, err)
		}
		return none{}, about(d.Name, err)
	}
	class, ok := classes[d.Class]
	if !ok {
		return none{}, &Error{Usage, "class is one of local, relay"}
	}
	return none{}, about(d.Name, s.cfg.Directory.AddDomain(ctx, d.Name, class))
}

func (s *Server) removeDomain(ctx context.Context, d Domain) (none, error) {
	err := s.cfg.Directory.RemoveDomain(ctx, d.Name)
	if errors.Is(err, directory.ErrInUse) {
		return none{}, &Error{No, d.Name + " still has accounts, or another domain stands for it; remove them first"}
	}
	return none{}, about(d.Name, err)
}

func userOf(u directory.User) User {
	return User{ID: u.ID, Address: u.Address, Disabled: u.Disabled, Created: u.Created}
}

func (s *Server) users(ctx context.Context, q url.Values) ([]User, error) {
	found, err := s.cfg.Directory.Users(ctx, q.Get("domain"))
	out := []User{}
	for _, u := range found {
		out = append(out, userOf(u))
	}
	return out, err
}

// oneUser is an account with its folders and its active script.
func (s *Server) oneUser(ctx context.Context, q url.Values) (User, error) {
	u, err := s.cfg.Directory.User(ctx, q.Get("address"))
	if err != nil {
		return User{}, about(q.Get("address"), err)
	}
	out := userOf(u)
	folders, err := s.cfg.Mailboxes.Folders(ctx, mailbox.AccountID(u.ID))
	if err != nil {
		return User{}, err
	}
	for _, f := range folders {
		st, err := s.cfg.Mailboxes.Status(ctx, f.ID)
		if err != nil {
			return User{}, err
		}
		out.Folders = append(out.Folders, Folder{f.Name, st.Messages, st.Unseen, st.Size})
	}
	out.Script, _, _, err = s.cfg.Directory.ActiveScript(ctx, u.ID, directory.Sieve)
	if err == nil || errors.Is(err, directory.ErrNoScript) {
		out.Lua, _, _, err = s.cfg.Directory.ActiveScript(ctx, u.ID, directory.Lua)
	}
	if errors.Is(err, directory.ErrNoScript) {
		err = nil
	}
	if err != nil {
		return out, err
	}
	grants, err := s.cfg.Directory.Grants(ctx, u.ID)
	for _, g := range grants {
		out.Grants = append(out.Grants, Grant{Address: g.Address, Kind: g.Kind.String()})
	}
	return out, err
}

// grantKinds are the names of the kinds of grants.
var grantKinds = map[string]directory.GrantKind{"send-as": directory.SendAs, "on-behalf": directory.OnBehalf}

func (s *Server) addGrant(ctx context.Context, g Grant) (none, error) {
	kind, ok := grantKinds[g.Kind]
	if !ok {
		return none{}, &Error{Usage, "kind is one of send-as, on-behalf"}
	}
	return none{}, about(g.User, s.cfg.Directory.AddGrant(ctx, g.User, directory.Grant{Address: g.Address, Kind: kind}))
}

func (s *Server) removeGrant(ctx context.Context, g Grant) (none, error) {
	return none{}, about(g.User, s.cfg.Directory.RemoveGrant(ctx, g.User, g.Address))
}

func (s *Server) addUser(ctx context.Context, c Credentials) (User, error) {
	u, err := s.cfg.Directory.AddUser(ctx, c.Address, c.Password)
	if err != nil {
		return User{}, about(c.Address, err)
	}
	return userOf(u), s.cfg.Mailboxes.Provision(ctx, mailbox.AccountID(u.ID))
}

func (s *Server) setPassword(ctx context.Context, c Credentials) (none, error) {
	return none{}, about(c.Address, s.cfg.Directory.SetPassword(ctx, c.Address, c.Password))
}

func (s *Server) disableUser(ctx context.Context, d Disable) (none, error) {
	return none{}, about(d.Address, s.cfg.Directory.Disable(ctx, d.Address, d.Disabled))
}

// removeUser removes an account and all its mail.
func (s *Server) removeUser(ctx context.Context, c Credentials) (User, error) {
	u, err := s.cfg.Directory.RemoveUser(ctx, c.Address)
	if err != nil {
		return User{}, about(c.Address, err)
	}
	return userOf(u), errors.Join(s.cfg.Mailboxes.DeleteAccount(ctx, mailbox.AccountID(u.ID)), s.cfg.Spam.Keeper.Remove(ctx, spamOwner(u)))
}

func (s *Server) aliases(ctx context.Context, q url.Values) ([]Alias, error) {
	found, err := s.cfg.Directory.Aliases(ctx, q.Get("domain"))
	out := []Alias{}
	for _, a := range found {
		out = append(out, Alias(a))
	}
	return out, err
}

func (s *Server) addAlias(ctx context.Context, a Alias) (none, error) {
	if len(a.Targets) == 0 {
		return none{}, &Error{Usage, "an alias needs a target"}
	}
	return none{}, about(a.Address, s.cfg.Directory.AddAlias(ctx, a.Address, a.Targets...))
}

func (s *Server) removeAlias(ctx context.Context, a Alias) (none, error) {
	return none{}, about(a.Address, s.cfg.Directory.RemoveAlias(ctx, a.Address, a.Targets...))
}

// route says what the router makes of an address, for a client that may not
// relay.
func (s *Server) route(ctx context.Context, q url.Values) (Route, error) {
	addr, err := smtp.ParseAddress(q.Get("address"))
	if err != nil {
		return Route{}, &Error{BadData, err.Error()}
	}
	from, err := senderOf(q.Get("sender"))
	if err != nil {
		return Route{}, &Error{BadData, err.Error()}
	}
	res, err := s.cfg.Router.Explain(ctx, addr, false)
	if err != nil {
		return Route{}, about(addr.String(), err)
	}
	out := Route{
		Address: addr.String(), Class: string(res.Class), Exempt: res.Exempt, Circle: res.Circle, Reply: res.Reply.String(),
		Targets: []Target{}, Steps: steps(res.Steps),
	}
	if res.Reply.IsZero() {
		out.Reply = ""
	}
	for _, t := range res.Targets {
		target, found, err := s.targetOf(ctx, from, t)
		if err != nil {
			return Route{}, about(addr.String(), err)
		}
		out.Targets, out.Steps = append(out.Targets, target), append(out.Steps, steps(found)...)
	}
	return out, nil
}

// senderOf reads a reverse-path; "" and "<>" are none.
func senderOf(text string) (smtp.Address, error) {
	if text == "" || text == "<>" {
		return smtp.Address{}, nil
	}
	return smtp.ParseAddress(text)
}

func steps(in []route.Step) []RouteStep {
	out := []RouteStep{}
	for _, s := range in {
		out = append(out, RouteStep(s))
	}
	return out
}

// targetOf is a target, and of an address elsewhere the way there.
func (s *Server) targetOf(ctx context.Context, from smtp.Address, t route.Target) (Target, []route.Step, error) {
	out := Target{Address: t.Addr.String(), Account: t.Account, User: t.User, Owner: t.Owner.String()}
	switch t.Kind {
	case route.Mailbox:
		return out, nil, nil
	case route.File:
		out.File = t.Text
		return out, nil, nil
	case route.Command:
		out.Command = t.Text
		return out, nil, nil
	}
	if out.Owner != "" {
		from = t.Owner
	}
	way, found, err := s.cfg.Router.ExplainWay(ctx, from, t.Addr)
	out.Way, out.Hosts, out.TLS = way.String(), way.Route.Hosts, string(way.Route.Security)
	return out, found, err
}
