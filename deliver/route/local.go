package route

import (
	"fmt"
	"io"
	"os"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"mtad/aliases"
	"mtad/directory"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/smtp"
)

// local goes on from a local name of a domain of mydestination: its accounts and
// aliases in the directory are those of myorigin.
func (w *walk) local(a smtp.Address, by from, depth int) error {
	r, err := w.router.directory.Lookup(w.ctx, a.Local, w.c.Origin)
	if err != nil {
		return err
	}
	if r.Class != directory.Local {
		r = directory.Result{}
	}
	return w.localIn(a, by, depth, r)
}

// localIn looks for a local name: aliases, accounts, users of the system, and who
// stands in for nobody.
func (w *walk) localIn(a smtp.Address, by from, depth int, r directory.Result) error {
	name := strings.ToLower(a.Local)
	for _, s := range w.c.Aliases {
		if s == nil {
			if r.Targets != nil && !r.StandIn && !w.visited["alias "+r.Key.Key()] {
				return w.inDirectory(a, by, depth, r)
			}
			continue
		}
		if done, err := w.aliased(a, name, s, by, depth); done || err != nil {
			return err
		}
	}
	if r.User != nil && !r.StandIn {
		return w.inDirectory(a, by, depth, r)
	}
	if done, err := w.systemUser(a, name, by, depth); done || err != nil {
		return err
	}
	if r.Found() {
		return w.inDirectory(a, by, depth, r)
	}
	if w.c.LuserRelay != "" && w.visit("luser "+name) {
		return w.luser(a, name, by, depth)
	}
	if depth > 0 && w.led(name) {
		w.note(a, "local names", "nobody of that name")
		return nil
	}
	w.dead(a, by, depth, "local names", "nobody of that name", unknown)
	return nil
}

// led reports whether a name's alias has been followed: a list that leads back to
// itself names nobody by that.
func (w *walk) led(name string) bool {
	base, _, _ := lookup.SplitDetail(name, w.c.Separator)
	return slices.ContainsFunc(w.c.Aliases, func(s AliasSource) bool {
		return s != nil && (w.visited["name "+s.String()+" "+name] || w.visited["name "+s.String()+" "+base])
	})
}

// luser sends mail for nobody where luser_relay says; $local in it is the name.
func (w *walk) luser(a smtp.Address, name string, by from, depth int) error {
	base, detail, _ := lookup.SplitDetail(name, w.c.Separator)
	text := os.Expand(w.c.LuserRelay, func(v string) string {
		return map[string]string{"local": name, "user": base, "extension": detail, "domain": a.Domain, "recipient": a.String()}[v]
	})
	to, err := smtp.ParseAddress(text)
	if err != nil {
		return fmt.Errorf("luser_relay: %w", err)
	}
	w.is(pipeline.Alias, depth)
	w.note(a, "luser_relay", "nobody of that name: %s", to)
	return w.follow(to, from{owner: by.owner, domain: a.Domain}, depth+1)
}

// aliased follows an alias of one source: of the name as it is, or without its
// detail.
func (w *walk) aliased(a smtp.Address, name string, s AliasSource, by from, depth int) (done bool, err error) {
	base, _, ok := lookup.SplitDetail(name, w.c.Separator)
	keys := []string{name}
	if ok {
		keys = append(keys, base)
	}
	for _, key := range keys {
		if w.visited["name "+s.String()+" "+key] {
			return false, nil // an alias that names its own user
		}
		list, ok, err := s.Alias(w.ctx, key)
		if err != nil {
			return true, err
		}
		if !ok {
			continue
		}
		w.visit("name " + s.String() + " " + key)
		w.is(pipeline.Alias, depth)
		w.note(a, "aliases "+s.String(), "%s leads to %s", key, describe(list.Targets))
		if by.domain, err = w.namespace(a); err != nil {
			return true, err
		}
		if by.owner, err = w.owner(key, s, by); err != nil {
			return true, err
		}
		return true, w.list(a, list, by, depth)
	}
	return false, nil
}

// namespace is the domain that names without one have in a list: myorigin if its
// names are the local ones, else that of the address.
func (w *walk) namespace(a smtp.Address) (string, error) {
	if canonical(a.Domain) == w.c.Origin {
		return w.c.Origin, nil
	}
	ours, err := w.c.isLocal(w.ctx, w.c.Origin)
	if err == nil && !ours {
		var r directory.Result
		r, err = w.router.directory.Lookup(w.ctx, "postmaster", w.c.Origin)
		ours = r.Class == directory.Local
	}
	if err != nil || !ours {
		return a.Domain, err
	}
	return w.c.Origin, nil
}

// owner is owner-NAME, if there is such an alias, else what it was.
func (w *walk) owner(name string, s AliasSource, by from) (smtp.Address, error) {
	if strings.HasPrefix(name, "owner-") || strings.HasSuffix(name, "-request") {
		return by.owner, nil
	}
	_, ok, err := s.Alias(w.ctx, "owner-"+name)
	if err != nil || !ok {
		return by.owner, err
	}
	return smtp.Address{Local: "owner-" + name, Domain: by.domain}, nil
}

func describe(targets []aliases.Target) string {
	var out []string
	for i, t := range targets {
		if i == 10 {
			out = append(out, fmt.Sprintf("and %d more", len(targets)-i))
			break
		}
		out = append(out, t.String())
	}
	return strings.Join(out, ", ")
}

// list goes on from each target of a list.
func (w *walk) list(a smtp.Address, l List, by from, depth int) error {
	for _, t := range l.Targets {
		var err error
		switch t.Kind {
		case aliases.Address:
			err = w.listedAddress(t.Text, by, depth)
		case aliases.User:
			err = w.final(a, t.Text, by, depth)
		case aliases.File:
			err = w.add(Target{Kind: File, Addr: a, Text: t.Text, User: l.User, Owner: by.owner})
		case aliases.Command:
			err = w.add(Target{Kind: Command, Addr: a, Text: t.Text, User: l.User, Owner: by.owner})
		case aliases.Include:
			err = w.include(a, t.Text, l.User, by, depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) listedAddress(text string, by from, depth int) error {
	to, err := smtp.ParseAddress(text)
	if err != nil {
		return fmt.Errorf("alias target %q: %w", text, err)
	}
	return w.follow(to, by, depth+1)
}

// include reads ":include:" (aliases(5)).
func (w *walk) include(a smtp.Address, file, user string, by from, depth int) error {
	if !w.visit("include " + file) {
		return nil
	}
	if depth >= maxDepth {
		return fmt.Errorf("%w files in files, at %s", ErrTooMany, file)
	}
	text, owner, err := readList(file)
	if err != nil {
		return fmt.Errorf(":include: %w", err)
	}
	targets, errs := aliases.ParseList(file, string(text))
	if len(errs) > 0 {
		return fmt.Errorf(":include: %w", errs[0])
	}
	w.note(a, "include "+file, "%s", describe(targets))
	if owner != "" {
		user = owner
	}
	return w.list(a, List{targets, user}, by, depth+1)
}

// readList reads a file that is included, and finds its owner: "" for root.
func readList(file string) (text []byte, owner string, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, "", err
	case !st.Mode().IsRegular():
		return nil, "", fmt.Errorf("%s is no plain file", file)
	case st.Size() > aliases.MaxList:
		return nil, "", fmt.Errorf("%s has %d octets; at most %d are read", file, st.Size(), aliases.MaxList)
	}
	if text, err = io.ReadAll(io.LimitReader(f, aliases.MaxList)); err != nil {
		return nil, "", err
	}
	return text, fileOwner(st), nil
}

// fileOwner is the name of a file's owner; "" for root, and who has no name.
func fileOwner(st os.FileInfo) string {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok || s.Uid == 0 {
		return ""
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(s.Uid), 10))
	if err != nil {
		return ""
	}
	return u.Username
}

// final is \name: the user's mailbox, whatever aliases and .forward say.
func (w *walk) final(a smtp.Address, name string, by from, depth int) error {
	if strings.ContainsRune(name, '@') {
		return w.listedAddress(name, by, depth)
	}
	r, err := w.router.directory.Lookup(w.ctx, name, w.c.Origin)
	if err != nil {
		return err
	}
	if r.User != nil && !r.StandIn {
		return w.mailbox(a, r, by)
	}
	if w.c.System != nil {
		home, ok, err := w.c.System.User(name)
		if err != nil {
			return err
		}
		if ok {
			return w.add(w.c.systemMailbox(smtp.Address{Local: name, Domain: by.domain}, name, home, "", by.owner))
		}
	}
	w.dead(smtp.Address{Local: name, Domain: by.domain}, by, depth+1, `\`+name, "nobody of that name", unknown)
	return nil
}

// systemUser goes on from a user of the system: where .forward says, else to the
// mailbox.
func (w *walk) systemUser(a smtp.Address, name string, by from, depth int) (done bool, err error) {
	if w.c.System == nil {
		return false, nil
	}
	base, detail, _ := lookup.SplitDetail(name, w.c.Separator)
	home, ok, err := w.c.System.User(name)
	if err == nil && !ok && detail != "" {
		home, ok, err = w.c.System.User(base)
	} else {
		base, detail = name, ""
	}
	if err != nil || !ok {
		return false, err
	}
	w.is(pipeline.Local, depth)
	if w.visit("forward " + base) {
		if done, err := w.forward(a, base, detail, by, depth); done || err != nil {
			return true, err
		}
	} else {
		w.circle = false
	}
	w.note(a, "users of the system", "mailbox of %s", base)
	return true, w.add(w.c.systemMailbox(a, base, home, detail, by.owner))
}

// forward follows ~/.forward+detail, or ~/.forward.
func (w *walk) forward(a smtp.Address, name, detail string, by from, depth int) (bool, error) {
	files := []string{".forward"}
	if detail != "" && !strings.ContainsAny(detail, "/\x00") {
		files = []string{".forward+" + detail, ".forward"}
	}
	for _, file := range files {
		text, ok, reason, err := w.c.System.Forward(w.ctx, name, file)
		if err != nil {
			return false, err
		}
		if reason != "" {
			w.note(a, "~"+name+"/"+file, "not used: %s", reason)
			return false, nil
		}
		if !ok {
			continue
		}
		targets, errs := aliases.ParseList("~"+name+"/"+file, string(text))
		var kept []aliases.Target
		for _, t := range targets {
			if t.Kind != aliases.Include { // the server would read it, not the user
				kept = append(kept, t)
				continue
			}
			errs = append(errs, fmt.Errorf("~%s/%s: %s: a .forward can not include files", name, file, t))
		}
		for _, e := range errs {
			w.note(a, "~"+name+"/"+file, "left out: %v", e)
		}
		if len(kept) == 0 {
			return false, nil
		}
		w.note(a, "~"+name+"/"+file, "%s", describe(kept))
		if by.domain, err = w.namespace(a); err != nil {
			return true, err
		}
		return true, w.list(a, List{kept, name}, by, depth)
	}
	return false, nil
}

// systemMailbox is where a user of the system has mail.
func (c *Config) systemMailbox(a smtp.Address, name, home, detail string, owner smtp.Address) Target {
	t := Target{Kind: File, Addr: a, User: name, Detail: detail, Owner: owner}
	switch m := c.Mailbox; {
	case m.Command != "":
		t.Kind, t.Text = Command, m.Command
	case m.Home != "":
		t.Text = home + "/" + m.Home
	default:
		t.Text = path.Join(m.Spool, name)
	}
	return t
}
