package bayes

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Tags are the values of the tags BAYESTC, BAYESTCLEARNED, BAYESTCSPAMMY and
// BAYESTCHAMMY; the first two are missing if tokens were not looked for.
func (r *Result) Tags() map[string]string {
	out := map[string]string{"BAYESTCSPAMMY": strconv.Itoa(len(r.Spammy)), "BAYESTCHAMMY": strconv.Itoa(len(r.Hammy))}
	if r.Counted {
		out["BAYESTC"], out["BAYESTCLEARNED"] = strconv.Itoa(r.Tokens), strconv.Itoa(r.Known)
	}
	return out
}

// Summary is the tag TOKENSUMMARY.
func (r *Result) Summary() string {
	if !r.Counted {
		return "Bayes not run."
	}
	return fmt.Sprintf("Tokens: new, %d; hammy, %d; neutral, %d; spammy, %d.", r.Tokens-r.Known, len(r.Hammy),
		r.Known-len(r.Hammy)-len(r.Spammy), len(r.Spammy))
}

// The forms in which tokens are listed.
var formNames = []string{"Compact", "Long", "Short", "compact", "long", "medium", "short"}

var forms = map[string]string{
	"short":   "$t",
	"Short":   `Token: "$t"`,
	"compact": "$p-$D--$t",
	"Compact": `Probability $p -declassification distance $D ("+" means > 9) --token: "$t"`,
	"medium":  "$p-$D-$N--$t",
	"long":    "$p-$d--${h}h-${s}s--${a}d--$t",
	"Long":    `Probability $p -declassification distance $D --in ${h} ham messages -and ${s} spam messages --${a} days old--token:"$t"`,
}

// HammyTokens is the tag HAMMYTOKENS; param is what stands in its parentheses: how many
// tokens, a comma, and a form. now is what their age is counted from.
func (r *Result) HammyTokens(param string, now time.Time) string { return r.list(r.Hammy, param, now) }

// SpammyTokens is the tag SPAMMYTOKENS.
func (r *Result) SpammyTokens(param string, now time.Time) string {
	return r.list(r.Spammy, param, now)
}

func (r *Result) list(tokens []Evidence, param string, now time.Time) string {
	if !r.Counted {
		return "Tokens not available."
	}
	limit, name, _ := strings.Cut(param, ",")
	name, _, _ = strings.Cut(name, ",")
	if param == "" {
		limit = "5"
	}
	form, ok := forms[name]
	switch {
	case name == "":
		form = forms["compact"]
	case !ok:
		return "Invalid format, must be one of: " + strings.Join(formNames, ",")
	}
	n, err := strconv.Atoi(limit)
	if err != nil || n < 0 {
		n = 0
	}
	var out []string
	for _, e := range tokens[:min(n, len(tokens))] {
		out = append(out, r.write(&e, form, now))
	}
	return strings.Join(out, ", ")
}

// write puts a token into a form.
func (r *Result) write(e *Evidence, form string, now time.Time) string {
	d := r.distance(e)
	return strings.NewReplacer(
		"$p", fmt.Sprintf("%.3f", e.Probability), "$D", digit(d), "$d", strconv.FormatInt(d, 10), "$N", digit(e.Spam+e.Ham), "$t", e.Text,
		"${h}", strconv.FormatInt(e.Ham, 10), "${s}", strconv.FormatInt(e.Spam, 10), "${a}", strconv.FormatInt((now.Unix()-e.ATime)/86400, 10),
	).Replace(form)
}

func digit(n int64) string {
	if n > 9 {
		return "+"
	}
	return strconv.FormatInt(n, 10)
}

// distance is in how many messages of the other kind a token would have to be seen to
// be no sign any more.
func (r *Result) distance(e *Evidence) int64 {
	if e.Spam == 0 && e.Ham == 0 || e.strength() < minStrength {
		return 0
	}
	// a is what the token is no sign of.
	allA, a, allB, b := float64(r.Spam), float64(e.Spam), float64(r.Ham), float64(e.Ham)
	if e.Probability > 0.5 {
		allA, a, allB, b = allB, b, allA, a
	}
	const p, sx = 0.5 - minStrength, unknownProb * strength
	x := allB * (1 - p)
	y := allB*(sx+b*(1-p)-p*strength) - p*allA*b
	z := allA * b * (sx - p*(strength+b))
	root := math.Sqrt(math.Max(0, y*y-4*x*z))
	return int64(math.Max(1, (1-1e-6+(-y+root)/(2*x))-a))
}
