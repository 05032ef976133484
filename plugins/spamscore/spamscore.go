// Package spamscore judges messages by SpamAssassin's rules, with the engine of package
// spam.
package spamscore

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"mtad/config"
	"mtad/message"
	"mtad/pipeline"
	"mtad/spam"
	"mtad/spam/resolve"
)

// Kind is filter "spamscore". What was learned is in l, preferences are in u; nil is
// nothing. Filters with the same rules have one engine, of engines.
func Kind(l spam.Learned, u Users, engines *spam.Engines) pipeline.Kind {
	return pipeline.Kind{
		Name: "spamscore", Doc: "Scores messages by SpamAssassin's rules.",
		Stages: pipeline.At(pipeline.Message, pipeline.Deliver), Options: options,
		New: func(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
			return newFilter(b, env, l, u, engines)
		},
	}
}

// Whose Bayes is asked.
const (
	bayesOff  = "off"
	bayesSite = "site"
	bayesUser = "user"
)

type settings struct {
	Rules   []string    `mtad:"rules"`
	MaxSize config.Size `mtad:"max_size"`
	Headers bool        `mtad:"headers"`
	Network bool        `mtad:"network"`
	Bayes   string      `mtad:"bayes"`

	Preferences config.Source `mtad:"preferences"`
}

var options = []config.Option{
	{Name: "rules", Type: config.TypePaths, Default: []string{}, Reload: true, Doc: "Files and directories with SpamAssassin's rules, in order. None is those that sa-update or Debian's package has installed, and the site's in /etc/spamassassin; without any of these a small set that is built in.", Example: `["/usr/share/spamassassin", "/etc/spamassassin"]`},
	{Name: "max_size", Type: config.TypeSize, Default: 512 * config.KB, Min: 1 * config.KB, Reload: true, Doc: "Larger messages are not judged, as spamc does with its -s.", Example: "2 * MB"},
	{Name: "headers", Type: config.TypeBool, Default: true, Reload: true, Doc: "Whether the fields that the rules' add_header lines name are added, X-Spam-Status and its like, and rewrite_header and subjprefix are obeyed.", Example: "false"},
	{Name: "network", Type: config.TypeBool, Default: true, Reload: true, Doc: "Whether rules may ask the DNS, through the server's resolver: lists of addresses, of links' domains and the like. Without it they do not run; rules about SPF, DKIM and DMARC do, by the results of those filters.", Example: "false"},
	{Name: "bayes", Type: config.TypeString, Default: bayesSite, Values: []string{bayesSite, bayesUser, bayesOff}, Reload: true, Doc: "Whose Bayes is asked, and learns what is clearly spam or ham as far as the rules' bayes_auto_learn lets it: one of the site for all mail, or each account's own, for which the filter stands in the pipeline of local delivery. `mtad spam learn` teaches it.", Example: `"user"`},
	{Name: "preferences", Type: config.TypeSource, Reload: true, Doc: "Where each recipient's preferences are: store(). The filter then stands in the pipeline of local delivery, and judges the copies of those who have any.", Example: "store()"},
}

type filter struct {
	settings
	judge spam.Judge // the owner is that of the message, where users have their own
	prefs prefs
	log   *slog.Logger
	now   func() time.Time
}

func newFilter(b config.Block, env pipeline.Env, l spam.Learned, u Users, engines *spam.Engines) (pipeline.Filter, error) {
	f := &filter{now: env.Now, log: env.Log}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.Bayes != bayesOff {
		f.judge.Learned = l
	}
	if b.Has("preferences") {
		if len(f.Preferences) != 1 || f.Preferences[0].Kind != config.LookupStore {
			return nil, b.Errorf("preferences", "preferences of users are looked up in store() only")
		}
		if f.prefs.users = u; u == nil {
			return nil, b.Errorf("preferences", "there is no store here")
		}
	}
	o := spam.Options{Net: true, Bayes: true} // which changes nothing where nothing was learned
	if f.Network {
		o.Resolver = resolve.With(env.DNS)
	}
	e, opened, err := engines.Open(f.paths(), o)
	if err != nil {
		return nil, b.Errorf("rules", "%v", err)
	}
	if f.judge.Engine = e; opened && env.Log != nil {
		tell(e, env.Log)
	}
	return f, nil
}

// Judge is that of a filter of this kind, for whoever asks without a pipeline. Where users
// have their own Bayes, the owner is the asker's to set.
func Judge(f pipeline.Filter) (j *spam.Judge, ok bool) {
	if s, ours := f.(*filter); ours {
		j := s.judge
		return &j, true
	}
	return nil, false
}

// Faults are what is wrong in the site's own rules of a filter of this kind, and the arguments
// with which a command finds the same rules.
func Faults(f pipeline.Filter) (faults []string, args string) {
	s, ours := f.(*filter)
	if !ours {
		return nil, ""
	}
	if s.Network {
		args = " --net"
	}
	if len(s.Rules) > 0 {
		args += " --rules " + strings.Join(s.Rules, ",")
	}
	for _, p := range s.judge.Faults(spam.Own) {
		faults = append(faults, p.String())
	}
	return faults, args
}

// paths are those of the rules, nil for those that are installed.
func (f *filter) paths() []string {
	if len(f.Rules) == 0 {
		return nil
	}
	return f.Rules
}

// Outdated reports whether the rules' files have changed.
func (f *filter) Outdated() bool { return f.judge.Changed(f.paths()) }

// Start makes the rules ready for the first message, in the background.
func (f *filter) Start(context.Context) error {
	go f.judge.Warm()
	return nil
}

// Close implements pipeline.Runner.
func (f *filter) Close() error { return nil }

// Stages: a user's own Bayes and preferences are for local delivery.
func (f *filter) Stages() pipeline.Stages {
	if f.Bayes == bayesUser || f.prefs.users != nil {
		return pipeline.At(pipeline.Deliver)
	}
	return pipeline.At(pipeline.Message)
}

// Access: what is learned unasked is an effect.
func (f *filter) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	writes = pipeline.Scores | pipeline.Tags | pipeline.Header
	if f.judge.Learned != nil {
		writes |= pipeline.Effects
	}
	return pipeline.Envelope | pipeline.Header | pipeline.Body | pipeline.AuthResults | pipeline.Scores | pipeline.Tags, writes
}

// tell tells of rules that were read.
func tell(e *spam.Engine, log *slog.Logger) {
	log.Info("spamscore: rules loaded", "rules", len(e.Rules()), "cannot_run", len(e.Cannot()), "problems", len(e.Problems()))
	if p := e.Problems(); len(p) > 0 {
		log.Warn("spamscore: rules have lines that can not be obeyed: `mtad spam rules --lint` names all, of other files than those that are installed with --rules", "lines", len(p), "first", p[0].String())
	}
}

// Filter judges the message. Each rule that hits and scores is a score of its own.
func (f *filter) Filter(ctx context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	j, own := f.judge, false
	if s == pipeline.Deliver {
		var pass bool
		var err error
		if own, pass, err = f.ownJudge(ctx, v, &j); pass || err != nil {
			return pipeline.Verdict{}, err
		}
	}
	m, restored := restore(v)
	if m.Size() > int64(f.MaxSize) {
		return pipeline.Verdict{Note: fmt.Sprintf("not judged: %d octets", m.Size())}, nil
	}
	text, err := message.ReadAll(m.Bytes())
	if err != nil {
		return pipeline.Verdict{}, err
	}
	// Rules are written for mail as it lies in files, with bare LF.
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	r := j.Check(ctx, text, facts(v, f.now()))
	if len(r.Blocked) > 0 && f.log != nil {
		f.log.Warn("spamscore: lists of the DNS refuse to answer: they are not asked for a while. Ask through a resolver of your own, or forbid it with dns_query_restriction deny", "zones", r.Blocked)
	}
	out := pipeline.Verdict{Note: fmt.Sprintf("score %.1f of %.1f", r.Score, r.Required)}
	if cut := r.CutNote(); cut != "" {
		out.Note += ", cut short: " + cut
		out.Mods = append(out.Mods, pipeline.Tag{Name: "spamscore.cut", Value: cut})
	}
	if s == pipeline.Deliver {
		out.Mods = append(out.Mods, corrections(v, j.Engine, r)...)
	} else {
		for _, h := range r.Hits {
			out.Mods = append(out.Mods, pipeline.AddScore{Name: h.Rule, Points: h.Points(), Detail: r.Scan.Rules.Description(h.Rule)})
		}
	}
	out.Mods = append(out.Mods, required(r, own))
	if names := unknown(j.Engine, r); names != "" {
		out.Mods = append(out.Mods, pipeline.Tag{Name: "spamscore.unknown", Value: names})
	}
	if f.Headers {
		out.Mods = slices.Concat(out.Mods, stale(v), restored, []pipeline.Modification{pipeline.Tag{Name: "spam.status", Value: "spamscore"}})
		p := r.Report(spam.Host{Name: v.Client().Hostname, Version: spam.Version})
		for _, h := range p.Fields() {
			out.Mods = append(out.Mods, pipeline.AddHeader{Name: h.Name, Value: h.Template})
		}
		out.Mods = append(out.Mods, marks(m.Header(), p, restored != nil)...)
	}
	return out, nil
}

// ownJudge makes the judge the recipient's. own says that it has preferences of its own;
// pass that the copy is not to be judged: it was before, by the same rules.
func (f *filter) ownJudge(ctx context.Context, v *pipeline.View, j *spam.Judge) (own, pass bool, err error) {
	if f.Bayes == bayesUser {
		j.Owner = v.Mailbox().Key()
	}
	if f.prefs.users == nil {
		return false, false, nil
	}
	e, own, err := f.prefs.engine(ctx, j.Engine, v.Mailbox())
	if own {
		// What a user prefers must not teach the site.
		j.Engine, j.ReadOnly = e, f.Bayes == bayesSite
	}
	return own, err == nil && !own && f.Bayes != bayesUser, err
}

// unknown names some rules of which it is not known whether they hit, "" if there are
// none. Those that can never run are told of when the rules are loaded.
func unknown(e *spam.Engine, r *spam.Result) string {
	var names []string
	more := 0
	for _, u := range r.Unknown {
		switch state, _ := e.State(u.Rule); {
		case state == spam.Cannot:
		case len(names) == 10:
			more++
		default:
			names = append(names, u.Rule)
		}
	}
	s := strings.Join(names, " ")
	if more > 0 {
		s += " and " + strconv.Itoa(more) + " more"
	}
	return s
}

// facts are what the filters before this one have found.
func facts(v *pipeline.View, now time.Time) spam.Facts {
	out := spam.Facts{HasEnvelope: true, EnvelopeFrom: v.Sender().String(), Now: now}
	for _, a := range v.AuthResults() {
		switch a.Method {
		case "spf":
			addSPF(&out, a)
		case "dkim":
			out.DKIMChecked = true
			if a.Result != "none" {
				out.DKIM = append(out.DKIM, spam.Signature{Domain: a.Prop("header", "d"), Selector: a.Prop("header", "s"), Identity: a.Prop("header", "i"), Result: a.Result})
			}
		case "dmarc":
			out.DMARC = &spam.DMARC{Result: a.Result, Policy: a.Prop("policy", "dmarc")}
		case "arc":
			out.ARC = a.Result
		}
	}
	return out
}

func addSPF(f *spam.Facts, a pipeline.AuthResult) {
	if f.SPF == nil {
		f.SPF = &spam.SPF{}
	}
	if a.Prop("smtp", "helo") != "" && a.Prop("smtp", "mailfrom") == "" {
		f.SPF.Helo = a.Result
	} else {
		f.SPF.MailFrom = a.Result
	}
}
