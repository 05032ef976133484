package route

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mtad/directory"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/smtp"
)

// Bounds of one address (postconf(5), virtual_alias_recursion_limit and
// virtual_alias_expansion_limit, 1,000 each).
const (
	maxDepth   = 50   // aliases after one another
	maxTargets = 1000 // where one address may lead
	maxSteps   = 1000 // that are noted
	fewTargets = 16   // that are compared one by one
)

// ErrTooMany is an address that leads to too many others, or too far.
var ErrTooMany = errors.New("too many")

// walk is one run through everything that may lead an address elsewhere.
type walk struct {
	router  *Router
	c       *Config
	ctx     context.Context
	explain bool

	visited map[string]bool // what was followed
	found   map[Target]bool
	targets []Target
	nobody  []Nobody
	steps   []Step

	class   pipeline.Class // of the first address
	relayed bool           // the first address is of a domain that we relay for
	circle  bool           // something led back
	reply   smtp.Reply
}

// from is what led to an address.
type from struct {
	key    smtp.Address // the directory's alias
	detail string       // that it was called with
	domain string       // of the alias: of names without a domain, if myorigin is not ours
	owner  smtp.Address // of the innermost list that has one
}

// note notes a step, for who asks why.
func (w *walk) note(a smtp.Address, where, format string, args ...any) {
	if w.explain && len(w.steps) < maxSteps {
		w.steps = append(w.steps, Step{a.String(), where, fmt.Sprintf(format, args...)})
	}
}

// visit reports whether something is met for the first time.
func (w *walk) visit(key string) bool {
	if w.visited[key] {
		w.circle = true
		return false
	}
	if w.visited == nil {
		w.visited = map[string]bool{}
	}
	w.visited[key] = true
	return true
}

// is notes the class of the first address.
func (w *walk) is(c pipeline.Class, depth int) {
	if depth == 0 {
		w.class = c
	}
}

// dead ends the walk at an address that is nobody's.
func (w *walk) dead(a smtp.Address, by from, depth int, where, what string, r smtp.Reply) {
	w.note(a, where, "%s", what)
	if depth == 0 {
		w.class = pipeline.NoSuch
		return
	}
	n := Nobody{a, r, by.owner}
	if len(w.nobody) < maxTargets && !slices.Contains(w.nobody, n) {
		w.nobody = append(w.nobody, n)
	}
}

// unknown is what is said of an address that does not exist.
var unknown = smtp.NewReply(550, 1, 1, "User unknown")

// add adds a target.
func (w *walk) add(t Target) error {
	if w.found[t] || len(w.targets) <= fewTargets && slices.Contains(w.targets, t) {
		return nil
	}
	if len(w.targets) >= maxTargets {
		return fmt.Errorf("%w targets: more than %d", ErrTooMany, maxTargets)
	}
	if w.targets = append(w.targets, t); len(w.targets) < fewTargets {
		return nil
	}
	if w.found == nil {
		w.found = map[Target]bool{}
		for _, t := range w.targets {
			w.found[t] = true
		}
	}
	w.found[t] = true
	return nil
}

// qualify gives a name without a domain the one of myorigin, or, where that is
// not ours, of the alias that it stands in.
func (w *walk) qualify(a smtp.Address, domain string) smtp.Address {
	if a.Domain == "" && !a.IsZero() {
		if a.Domain = w.c.Origin; domain != "" {
			a.Domain = domain
		}
	}
	return a
}

// follow goes on from one address.
func (w *walk) follow(a smtp.Address, by from, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w aliases after one another, at %s", ErrTooMany, a)
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	a = w.qualify(a, by.domain)
	domain := canonical(a.Domain)
	local, err := w.c.isLocal(w.ctx, domain)
	if err != nil {
		return err
	}
	if done, err := w.virtual(a, domain, local, by, depth); done || err != nil {
		return err
	}
	if moved, err := w.relocated(a, domain, by, depth); moved || err != nil {
		return err
	}
	if local {
		return w.local(a, by, depth)
	}
	r, err := w.router.directory.Lookup(w.ctx, a.Local, domain)
	if err != nil {
		return err
	}
	switch {
	case r.Class == directory.Local && domain == w.c.Origin:
		return w.localIn(a, by, depth, r)
	case r.Class == directory.Local || r.Class == directory.Stand || r.Class == directory.Relay && r.Found():
		return w.inDirectory(a, by, depth, r)
	}
	return w.elsewhere(a, domain, r.Class == directory.Relay, by, depth)
}

// query says how tables are asked for an address: names of the local domain are
// looked for without it too.
func (c *Config) query(domain string, local bool) lookup.AddressQuery {
	return lookup.AddressQuery{Separator: c.Separator, Name: local || domain == c.Origin, Domain: true}
}

// in is an address with the domain as tables have it.
func in(a smtp.Address, domain string) smtp.Address {
	return smtp.Address{Local: a.Local, Domain: domain}
}

// virtual follows virtual_alias_maps.
func (w *walk) virtual(a smtp.Address, domain string, local bool, by from, depth int) (done bool, err error) {
	if len(w.c.VirtualAliases) == 0 {
		return false, nil
	}
	if w.visited["virtual "+a.Key()] {
		w.circle = true
		return false, nil // an address that leads to itself ends here
	}
	hit, ok, err := w.c.VirtualAliases.FindAddress(w.ctx, in(a, domain), w.c.query(domain, local))
	if err != nil || !ok {
		return false, err
	}
	w.note(a, "virtual_alias_maps", "%s is %s", hit.Key, hit.Value)
	w.is(pipeline.Alias, depth)
	w.visit("virtual " + a.Key())
	for _, text := range lookup.List(hit.Value) {
		to, err := hit.Address(text)
		if err != nil {
			return true, fmt.Errorf("virtual_alias_maps: %s: %w", hit.Key, err)
		}
		if err := w.follow(to, from{owner: by.owner}, depth+1); err != nil {
			return true, err
		}
	}
	return true, nil
}

// relocated finds addresses that have moved (relocated(5)).
func (w *walk) relocated(a smtp.Address, domain string, by from, depth int) (bool, error) {
	hit, ok, err := w.c.Relocated.FindAddress(w.ctx, in(a, domain), w.c.query(domain, false))
	if err != nil || !ok {
		return false, err
	}
	moved := smtp.NewReply(550, 1, 6, "User has moved to "+hit.Value)
	w.dead(a, by, depth, "relocated_maps", hit.Key+" is "+hit.Value, moved)
	if depth == 0 {
		w.reply = moved
	}
	return true, nil
}

// inDirectory goes on from an address of one of the directory's domains.
func (w *walk) inDirectory(a smtp.Address, by from, depth int, r directory.Result) error {
	switch {
	case r.Targets != nil && w.visit("alias "+r.Key.Key()):
		w.is(pipeline.Alias, depth)
		w.note(a, "aliases of the directory", "%s leads to %s", keyName(r.Key), strings.Join(r.Targets, ", "))
		return w.storedTargets(r, by, depth)
	case r.User != nil:
		w.is(pipeline.Local, depth)
		return w.mailbox(a, r, by)
	case r.Targets != nil:
		w.note(a, "aliases of the directory", "%s leads back, and is left out", keyName(r.Key))
		return nil
	}
	w.dead(a, by, depth, "directory", "nobody of that name", unknown)
	return nil
}

func (w *walk) storedTargets(r directory.Result, by from, depth int) error {
	for _, text := range r.Targets {
		to, err := smtp.ParseAddress(text)
		if err != nil {
			return fmt.Errorf("alias %s: %w", keyName(r.Key), err)
		}
		if err := w.follow(to, from{key: r.Key, detail: r.Detail, owner: by.owner}, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// keyName is a key as people write it.
func keyName(key smtp.Address) string {
	if key.Local == "" {
		return "@" + key.Domain
	}
	return key.String()
}

// mailbox adds an account. Where an alias names its own user, the detail that it
// was called with goes on to that user.
func (w *walk) mailbox(a smtp.Address, r directory.Result, by from) error {
	to, err := smtp.ParseAddress(r.User.Address)
	if err != nil {
		return fmt.Errorf("address of account %d: %w", r.User.ID, err)
	}
	detail := r.Detail
	if r.Key == by.key {
		detail = by.detail
	}
	w.note(a, "directory", "mailbox of %s", to)
	return w.add(Target{Kind: Mailbox, Addr: to, Account: r.User.ID, Detail: detail, Owner: by.owner})
}

// elsewhere goes on from an address of no domain with users here.
func (w *walk) elsewhere(a smtp.Address, domain string, relay bool, by from, depth int) error {
	virtual, err := w.c.VirtualMailboxDomains.Has(w.ctx, domain)
	if err != nil {
		return err
	}
	if virtual {
		return w.listed(a, domain, "virtual_mailbox_maps", w.c.VirtualMailboxes, pipeline.Local, by, depth)
	}
	aliasOnly, err := w.c.VirtualAliasDomains.Has(w.ctx, domain)
	if err != nil {
		return err
	}
	if aliasOnly {
		w.dead(a, by, depth, "virtual_alias_domains", "no alias of that name", unknown)
		return nil
	}
	if !relay {
		if relay, err = w.c.RelayDomains.Has(w.ctx, domain); err != nil {
			return err
		}
	}
	if relay {
		w.relayed = w.relayed || depth == 0
		return w.listed(a, domain, "relay_recipient_maps", w.c.RelayRecipients, pipeline.Relayed, by, depth)
	}
	w.is(pipeline.Relayed, depth)
	return w.add(Target{Kind: Remote, Addr: a, Owner: by.owner})
}

// listed takes an address if it is in the tables that list a domain's addresses,
// or if there are none.
func (w *walk) listed(a smtp.Address, domain, name string, tables lookup.Tables, class pipeline.Class, by from, depth int) error {
	if len(tables) > 0 {
		hit, ok, err := tables.FindAddress(w.ctx, in(a, domain), w.c.query(domain, false))
		switch {
		case err != nil:
			return err
		case !ok:
			w.dead(a, by, depth, name, "not there", unknown)
			return nil
		}
		w.note(a, name, "%s is there", hit.Key)
	}
	w.is(class, depth)
	return w.add(Target{Kind: Remote, Addr: a, Owner: by.owner})
}
