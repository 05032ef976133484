package rewrite

import (
	"context"
	"slices"

	"mtad/config"
	"mtad/lookup"
	"mtad/pipeline"
	"mtad/smtp"
)

// BccKind is filter "bcc".
func BccKind() pipeline.Kind {
	return pipeline.Kind{
		Name: "bcc", Doc: "Adds recipients who get a copy that nobody is told of: of all mail, or by sender or recipient.",
		Stages: pipeline.At(pipeline.Message), Options: bccOptions, New: newBcc,
	}
}

type bccSettings struct {
	Always    []string      `mtad:"always_bcc"`
	Sender    config.Source `mtad:"sender_bcc_maps"`
	Recipient config.Source `mtad:"recipient_bcc_maps"`
	Delimiter string        `mtad:"delimiter"`
}

var bccOptions = []config.Option{
	{Name: "always_bcc", Type: config.TypeStrings, Default: []string{}, Reload: true, Doc: "Who gets a copy of every message.", Example: `["archive@example.org"]`, Postfix: "always_bcc"},
	tableOption("sender_bcc_maps", "Tables of who gets a copy by sender: user@domain, @domain.", `{ "@sales.example.org" = "archive@example.org" }`),
	tableOption("recipient_bcc_maps", "Tables of who gets a copy by recipient: user@domain, @domain.", `"file:/etc/mtad/recipient_bcc"`),
	{Name: "delimiter", Type: config.TypeString, Default: "+", Reload: true, Doc: "What stands between a user's name and a detail; an address is looked for without the detail too.", Example: `"+"`, Postfix: "recipient_delimiter"},
}

type bcc struct {
	bccSettings
	always            []smtp.Address
	sender, recipient lookup.Tables
}

func newBcc(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &bcc{}
	err := b.Decode(&f.bccSettings)
	if err != nil {
		return nil, err
	}
	for _, text := range f.Always {
		a, err := smtp.ParseAddress(text)
		if err != nil || a.Domain == "" {
			return nil, b.Errorf("always_bcc", "%q is no address: want \"archive@example.org\"", text)
		}
		f.always = append(f.always, a)
	}
	if f.sender, err = openTables(b, "sender_bcc_maps", f.Sender, env); err != nil {
		return nil, err
	}
	f.recipient, err = openTables(b, "recipient_bcc_maps", f.Recipient, env)
	return f, err
}

// Start does nothing.
func (f *bcc) Start(context.Context) error { return nil }

// Close closes the tables.
func (f *bcc) Close() error { return slices.Concat(f.sender, f.recipient).Close() }

func (*bcc) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (*bcc) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Envelope, pipeline.Envelope
}

// Filter adds who gets a copy: each once, and without reports to the sender, who
// does not know of them.
func (f *bcc) Filter(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	var out pipeline.Verdict
	copies := slices.Clone(f.always)
	find := func(a smtp.Address, tables lookup.Tables) error {
		hit, ok, err := tables.FindAddress(ctx, a, lookup.AddressQuery{Separator: f.Delimiter, Domain: true})
		if err != nil || !ok {
			return err
		}
		to, err := smtp.ParseAddress(hit.Value)
		copies = append(copies, to)
		return err
	}
	if !v.Sender().IsZero() {
		if err := find(v.Sender(), f.sender); err != nil {
			return out, err
		}
	}
	for _, r := range v.Rcpts() {
		if err := find(r.Addr, f.recipient); err != nil {
			return out, err
		}
	}
	for i, a := range copies {
		if !slices.ContainsFunc(copies[:i], a.Equal) {
			out.Mods = append(out.Mods, pipeline.AddRecipient{Addr: a, Params: []string{"NOTIFY=NEVER"}})
		}
	}
	return out, nil
}
