// Package dkim verifies and makes DKIM signatures (RFC 6376, RFC 8301, RFC 8463)
// with emersion/go-msgauth.
package dkim

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"mtad/config"
	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
)

// VerifyKind is filter "dkim".
func VerifyKind() pipeline.Kind {
	return pipeline.Kind{
		Name: "dkim", Doc: "Verifies DKIM signatures.",
		Stages: pipeline.At(pipeline.Message), Options: verifyOptions, New: newVerifier,
	}
}

type verifySettings struct {
	OnFail config.Score `mtad:"on_fail"`
	OnNone config.Score `mtad:"on_none"`
	Max    int          `mtad:"max_signatures"`
}

var verifyOptions = []config.Option{
	{Name: "on_fail", Type: config.TypeScore, Default: config.Score(0), Reload: true, Doc: "Points for a message with signatures none of which verifies. RFC 6376, 6.1 advises against more than a little: forwarders break signatures.", Example: "score(1)"},
	{Name: "on_none", Type: config.TypeScore, Default: config.Score(0), Reload: true, Doc: "Points for a message without a signature.", Example: "score(0.1)"},
	{Name: "max_signatures", Type: config.TypeInt, Default: 10, Min: 1, Max: 100, Unit: "signatures", Reload: true, Doc: "How many signatures are verified; further ones are not looked at.", Example: "5"},
}

type verifier struct {
	verifySettings
	dns dns.Resolver
}

func newVerifier(b config.Block, env pipeline.Env) (pipeline.Filter, error) {
	f := &verifier{dns: env.DNS}
	return f, b.Decode(&f.verifySettings)
}

func (*verifier) Stages() pipeline.Stages { return pipeline.At(pipeline.Message) }

func (*verifier) Access(pipeline.Stage) (reads, writes pipeline.Facts) {
	return pipeline.Header | pipeline.Body, pipeline.Scores | pipeline.AuthResults
}

// Filter verifies the signatures of the message as it came.
func (f *verifier) Filter(ctx context.Context, _ pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	m := v.Original()
	sigs := signatures(m, f.Max)
	if len(sigs) == 0 {
		return f.none(), nil
	}
	results, err := dkim.VerifyWithOptions(message.NewReader(m.Bytes()), &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return f.txt(ctx, name) },
		MaxVerifications: f.Max,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		// The library can't read the message at all: nothing verifies.
		return pipeline.Verdict{Note: err.Error(), Mods: []pipeline.Modification{authResult("permerror", signature{}, "unreadable message")}}, nil
	}
	if ctx.Err() != nil {
		return pipeline.Verdict{}, ctx.Err()
	}
	return f.verdict(results, sigs), nil
}

func (f *verifier) none() pipeline.Verdict {
	out := pipeline.Verdict{Mods: []pipeline.Modification{authResult("none", signature{}, "")}}
	if f.OnNone != 0 {
		out.Mods = append(out.Mods, pipeline.AddScore{Name: "dkim_none", Points: float64(f.OnNone)})
	}
	return out
}

func (f *verifier) verdict(results []*dkim.Verification, sigs []signature) pipeline.Verdict {
	var out pipeline.Verdict
	passed, unknown := false, false
	for i, r := range results {
		result, reason := resultOf(r)
		sig := signature{domain: r.Domain}
		if i < len(sigs) {
			sig = sigs[i]
		}
		passed = passed || result == "pass"
		unknown = unknown || result == "temperror" // a fault of ours or the DNS is nobody's guilt
		out.Mods = append(out.Mods, authResult(result, sig, reason))
	}
	if !passed && !unknown && f.OnFail != 0 {
		out.Mods = append(out.Mods, pipeline.AddScore{Name: "dkim_fail", Points: float64(f.OnFail)})
	}
	return out
}

// txt looks a key record up; the library tells temporary faults by the error's
// Temporary method.
func (f *verifier) txt(ctx context.Context, name string) ([]string, error) {
	out, err := dns.Texts(ctx, f.dns, name)
	if err != nil && !dns.NotFound(err) {
		return nil, temporary{err}
	}
	return out, err
}

type temporary struct{ error }

func (temporary) Temporary() bool { return true }
func (temporary) Timeout() bool   { return true }

// resultOf is the outcome of one signature (RFC 8601, 2.7.1).
func resultOf(v *dkim.Verification) (result, reason string) {
	switch err := v.Err; {
	case err == nil:
		return "pass", ""
	case dkim.IsTempFail(err):
		return "temperror", trim(err)
	case dkim.IsPermFail(err):
		return "permerror", trim(err)
	default:
		return "fail", trim(err)
	}
}

func trim(err error) string { return strings.TrimPrefix(err.Error(), "dkim: ") }

// signature is what the results of the library lack.
type signature struct{ domain, selector, algorithm, identity string }

// signatures reads the tags of the first max signatures.
func signatures(m *message.Message, max int) []signature {
	var out []signature
	for _, v := range m.Header().Values("DKIM-Signature") {
		if len(out) == max {
			break
		}
		var s signature
		tags := map[string]*string{"d": &s.domain, "s": &s.selector, "a": &s.algorithm, "i": &s.identity}
		for tag := range strings.SplitSeq(v, ";") {
			name, value, _ := strings.Cut(tag, "=")
			if p := tags[strings.TrimSpace(name)]; p != nil {
				*p = strings.Join(strings.Fields(value), "")
			}
		}
		out = append(out, s)
	}
	return out
}

func authResult(result string, s signature, reason string) pipeline.AddAuthResult {
	r := pipeline.AuthResult{Method: "dkim", Result: result, Reason: reason}
	for _, p := range [][2]string{{"d", s.domain}, {"s", s.selector}, {"a", s.algorithm}, {"i", s.identity}} {
		if p[1] != "" {
			r.Props = append(r.Props, pipeline.AuthProp{Type: "header", Name: p[0], Value: p[1]})
		}
	}
	return pipeline.AddAuthResult{Result: r}
}
