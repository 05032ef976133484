// Package rewrite changes addresses, in the envelope and in header fields, by the
// tables that Postfix has for it (canonical(5), ADDRESS_REWRITING_README), and
// adds recipients who get a copy.
package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mtad/config"
	"mtad/lookup"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// Kind is filter "rewrite".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "rewrite", Doc: "Changes addresses in envelope and header: canonical tables, and masquerading behind a domain.",
		Stages: pipeline.At(pipeline.Message), Options: options, New: newFilter,
	}
}

// The places that an address may stand in (postconf(5), canonical_classes).
const (
	envelopeSender    = "envelope_sender"
	envelopeRecipient = "envelope_recipient"
	headerSender      = "header_sender"
	headerRecipient   = "header_recipient"
)

var (
	places    = []string{envelopeSender, envelopeRecipient, headerSender, headerRecipient}
	senders   = []string{envelopeSender, headerSender}
	receivers = []string{envelopeRecipient, headerRecipient}
	masks     = []string{envelopeSender, headerSender, headerRecipient}
)

type settings struct {
	Canonical        config.Source `mtad:"canonical_maps"`
	CanonicalClasses []string      `mtad:"canonical_classes"`
	Sender           config.Source `mtad:"sender_canonical_maps"`
	SenderClasses    []string      `mtad:"sender_canonical_classes"`
	Recipient        config.Source `mtad:"recipient_canonical_maps"`
	RecipientClasses []string      `mtad:"recipient_canonical_classes"`
	Domains          []string      `mtad:"masquerade_domains"`
	Exceptions       []string      `mtad:"masquerade_exceptions"`
	MaskClasses      []string      `mtad:"masquerade_classes"`
	Origin           string        `mtad:"origin"`
	Delimiter        string        `mtad:"delimiter"`
}

func tableOption(name, doc, example string) config.Option {
	return config.Option{Name: name, Type: config.TypeSource, Default: config.Source{}, Reload: true, Doc: doc, Example: example, Postfix: name}
}

func placeOption(name string, def []string, doc string) config.Option {
	return config.Option{Name: name, Type: config.TypeStrings, Default: def, Values: places, Reload: true, Doc: doc, Example: `["envelope_sender", "header_sender"]`, Postfix: name}
}

var options = []config.Option{
	tableOption("canonical_maps", "Tables of addresses, wherever they stand: user@domain, @domain, and user alone for addresses of origin.", `"file:/etc/mtad/canonical"`),
	placeOption("canonical_classes", places, "Where canonical_maps counts."),
	tableOption("sender_canonical_maps", "Tables for senders; they go before canonical_maps.", `{ "www-data@web1.example.org" = "webmaster@example.org" }`),
	placeOption("sender_canonical_classes", senders, "Where sender_canonical_maps counts."),
	tableOption("recipient_canonical_maps", "Tables for recipients; they go before canonical_maps. A recipient must exist to be taken at RCPT: one that does not is for virtual_alias_maps.", `"file:/etc/mtad/recipient_canonical"`),
	placeOption("recipient_canonical_classes", receivers, "Where recipient_canonical_maps counts."),
	{Name: "masquerade_domains", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Domains whose subdomains are taken off, the first that fits; \"!web.example.org\" keeps what is below it.", Example: `["!lists.example.org", "example.org"]`, Postfix: "masquerade_domains"},
	{Name: "masquerade_exceptions", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Users whose subdomains stay.", Example: `["root"]`, Postfix: "masquerade_exceptions"},
	placeOption("masquerade_classes", masks, "Where masquerading counts."),
	{Name: "origin", Type: config.TypeString, Default: "", Reload: true, Doc: "The domain whose addresses are looked for by the name alone as well.", Example: `"example.org"`, Postfix: "myorigin"},
	{Name: "delimiter", Type: config.TypeString, Default: "+", Reload: true, Doc: "What stands between a user's name and a detail; an address is looked for without the detail too, which goes on.", Example: `"+"`, Postfix: "recipient_delimiter"},
}

// senderFields and recipientFields are the fields whose addresses are rewritten
// (cleanup(8)).
var (
	senderFields = []string{
		"From", "Sender", "Reply-To", "Errors-To", "Return-Path", "Return-Receipt-To", "Resent-From", "Resent-Sender", "Resent-Reply-To",
	}
	recipientFields = []string{"To", "Cc", "Bcc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Bcc"}
)

type filter struct {
	settings
	canonical, sender, recipient lookup.Tables
}

func newFilter(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &filter{}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	for _, d := range f.Domains {
		if !smtp.ValidDomain(strings.TrimPrefix(d, "!")) {
			return nil, b.Errorf("masquerade_domains", "%q is no domain name, nor one behind an exclamation mark", d)
		}
	}
	var err error
	for _, t := range []struct {
		name string
		src  config.Source
		dst  *lookup.Tables
	}{{"canonical_maps", f.Canonical, &f.canonical}, {"sender_canonical_maps", f.Sender, &f.sender}, {"recipient_canonical_maps", f.Recipient, &f.recipient}} {
		if *t.dst, err = openTables(b, t.name, t.src, env); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// openTables opens the tables of an option that takes nothing else.
func openTables(b config.Block, name string, src config.Source, env pipeline.Env) (lookup.Tables, error) {
	if v := src.Values(); len(v) > 0 {
		return nil, b.Errorf(name, "%q is no table: want \"file:PATH\", or { key = \"value\" }", v[0])
	}
	if src.Uses(config.LookupStore) {
		return nil, b.Errorf(name, "store() has no such table; want \"file:PATH\", say")
	}
	ts, err := lookup.OpenAll(src.Tables(), lookup.Options{Log: env.Log})
	if err != nil {
		return nil, b.Errorf(name, "%v", err)
	}
	return ts, nil
}

// Start does nothing: tables are connected to when they are first asked.
func (f *filter) Start(context.Context) error { return nil }

// Close closes the tables.
func (f *filter) Close() error {
	return slices.Concat(f.canonical, f.sender, f.recipient).Close()
}

func (*filter) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (*filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Envelope | pipeline.Header, pipeline.Envelope | pipeline.Header
}

// Filter rewrites the envelope, then the header. A table that can not be asked is
// a fault.
func (f *filter) Filter(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	var out pipeline.Verdict
	if from := v.Sender(); !from.IsZero() {
		to, err := f.rewrite(ctx, from, envelopeSender, f.sender, f.SenderClasses)
		if err != nil {
			return out, err
		}
		if to != from {
			out.Mods = append(out.Mods, pipeline.SetSender{Addr: to})
		}
	}
	for _, r := range v.Rcpts() {
		to, err := f.rewrite(ctx, r.Addr, envelopeRecipient, f.recipient, f.RecipientClasses)
		if err != nil {
			return out, err
		}
		if to != r.Addr {
			out.Mods = append(out.Mods, pipeline.RemoveRecipient{Rcpt: r.ID}, pipeline.AddRecipient{Addr: to, Params: reportTo(r)})
		}
	}
	for _, field := range v.Message().Header().Fields() {
		mod, err := f.field(ctx, field)
		if err != nil {
			return out, err
		}
		if mod != nil {
			out.Mods = append(out.Mods, mod)
		}
	}
	return out, nil
}

// reportTo are the parameters of a recipient who gets another address: what was
// asked for stays, and reports name the address that was written (RFC 3461, 4.2).
func reportTo(r pipeline.Recipient) []string {
	var out, words []string
	for _, n := range r.Params.Notify {
		words = append(words, string(n))
	}
	if len(words) > 0 {
		out = append(out, "NOTIFY="+strings.Join(words, ","))
	}
	typ, original := string(r.Params.OriginalRecipientType), r.Params.OriginalRecipient
	switch {
	case original == "" && r.Addr.ASCII():
		typ, original = "rfc822", r.Addr.String()
	case original == "":
		return out
	}
	return append(out, "ORCPT="+typ+";"+smtp.EncodeXtext(original))
}

// field rewrites the addresses of one field; nil if nothing changes.
func (f *filter) field(ctx context.Context, field message.Field) (pipeline.Modification, error) {
	is := func(name string) bool { return field.Is(name) }
	place, tables, classes := headerSender, f.sender, f.SenderClasses
	switch {
	case slices.ContainsFunc(senderFields, is):
	case slices.ContainsFunc(recipientFields, is):
		place, tables, classes = headerRecipient, f.recipient, f.RecipientClasses
	default:
		return nil, nil
	}
	value := field.RawValue()
	var failed error
	changed := message.ReplaceAddresses(value, func(a message.Address) (string, bool) {
		from := smtp.Address{Local: a.Local, Domain: a.Domain}
		if failed != nil || from.IsZero() {
			return "", false
		}
		to, err := f.rewrite(ctx, from, place, tables, classes)
		failed = err
		return to.String(), err == nil && to != from
	})
	if failed != nil || changed == value {
		return nil, failed
	}
	return pipeline.SetHeader{Field: field.ID, Name: field.Name, Value: changed, Raw: true}, nil
}

// rewrite is an address as it is to be at a place: by the tables of senders or
// recipients, by those of all addresses, masqueraded.
func (f *filter) rewrite(ctx context.Context, a smtp.Address, place string, own lookup.Tables, ownClasses []string) (smtp.Address, error) {
	var err error
	if slices.Contains(ownClasses, place) {
		if a, err = f.follow(ctx, a, own); err != nil {
			return a, err
		}
	}
	if slices.Contains(f.CanonicalClasses, place) {
		if a, err = f.follow(ctx, a, f.canonical); err != nil {
			return a, err
		}
	}
	if slices.Contains(f.MaskClasses, place) {
		a = f.mask(a)
	}
	return a, nil
}

// maxNesting is how often an address is looked for again (cleanup(8)).
const maxNesting = 10

// follow looks an address up until it stays.
func (f *filter) follow(ctx context.Context, a smtp.Address, tables lookup.Tables) (smtp.Address, error) {
	for range maxNesting {
		if len(tables) == 0 {
			return a, nil
		}
		to, ok, err := f.find(ctx, a, tables)
		if err != nil {
			return a, err
		}
		if !ok || to.Equal(a) {
			return a, nil
		}
		a = to
	}
	return a, nil
}

// find looks an address up once: also by the name alone where the domain is origin,
// and by @domain.
func (f *filter) find(ctx context.Context, a smtp.Address, tables lookup.Tables) (to smtp.Address, ok bool, err error) {
	q := lookup.AddressQuery{Separator: f.Delimiter, Name: strings.EqualFold(a.Domain, f.Origin), Domain: true}
	hit, ok, err := tables.FindAddress(ctx, a, q)
	if err != nil || !ok {
		return a, false, err
	}
	if to, err = hit.Address(hit.Value); err != nil {
		return a, false, fmt.Errorf("rewrite: %s leads to %q, which is no address: %w", hit.Key, hit.Value, err)
	}
	if to.Domain == "" {
		to.Domain = a.Domain
	}
	return to, true, nil
}

// mask takes the subdomain off (ADDRESS_REWRITING_README, masquerading).
func (f *filter) mask(a smtp.Address) smtp.Address {
	if slices.ContainsFunc(f.Exceptions, func(e string) bool { return strings.EqualFold(e, a.Local) }) {
		return a
	}
	domain := strings.ToLower(a.Domain)
	for _, d := range f.Domains {
		d, keep := strings.CutPrefix(strings.ToLower(d), "!")
		if domain != d && !strings.HasSuffix(domain, "."+d) {
			continue
		}
		if !keep {
			a.Domain = d
		}
		return a
	}
	return a
}
