// Package thresholds turns the summed score into a fate: it is the one filter
// that does. Put it behind the filters that score.
package thresholds

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"mtad/config"
	"mtad/pipeline"
	"mtad/smtp"
)

// Kind is filter "thresholds".
func Kind() pipeline.Kind {
	return pipeline.Kind{
		Name: "thresholds", Doc: "Turns the summed score into a header, the junk folder, quarantine or a refusal.",
		Stages: pipeline.At(pipeline.Message, pipeline.Deliver), Options: options, New: newFilter,
	}
}

// settings are the options of a block. A threshold of 0 is off.
type settings struct {
	Tag        float64 `mtad:"tag"`
	Junk       float64 `mtad:"junk"`
	Quarantine float64 `mtad:"quarantine"`
	Reject     float64 `mtad:"reject"`
	Folder     string  `mtad:"folder"`
	Text       string  `mtad:"text"`
	Header     bool    `mtad:"header"`
}

var options = []config.Option{
	{Name: "tag", Type: config.TypeFloat, Default: 0.0, Min: 0.0, Unit: "points", Reload: true, Doc: "From this sum on the message gets X-Spam-Flag: YES. 0 is the value of junk.", Example: "5"},
	{Name: "junk", Type: config.TypeFloat, Default: 6.0, Min: 0.0, Unit: "points", Reload: true, Doc: "From this sum on the message goes to the junk folder, unless a rule of the recipient files it. 0 is never. Where it is not given and spamscore has judged the message, it is required_score of the rules, so that the folder and X-Spam-Flag say the same.", Example: "6"},
	{Name: "quarantine", Type: config.TypeFloat, Default: 0.0, Min: 0.0, Unit: "points", Reload: true, Doc: "From this sum on the message is kept for an administrator. 0 is never.", Example: "12"},
	{Name: "reject", Type: config.TypeFloat, Default: 15.0, Min: 0.0, Unit: "points", Reload: true, Doc: "From this sum on the message is refused. 0 is never.", Example: "15"},
	{Name: "folder", Type: config.TypeString, Default: "Junk", Reload: true, Doc: "The junk folder.", Example: `"Spam"`},
	{Name: "text", Type: config.TypeString, Default: "Message looks like spam", Reload: true, Doc: "What a refused client is told.", Example: `"Spam is not welcome here"`},
	{Name: "header", Type: config.TypeBool, Default: true, Reload: true, Doc: "Whether X-Spam-Score and X-Spam-Status are added to messages that scored.", Example: "false"},
}

type filter struct {
	settings
	ruled bool // junk is what a scorer's rules require, if one says it
}

func newFilter(b config.Block, _ pipeline.Env) (pipeline.Filter, error) {
	f := &filter{ruled: !b.Has("junk")}
	if err := b.Decode(&f.settings); err != nil {
		return nil, err
	}
	if f.Reject > 0 && f.Junk > f.Reject {
		return nil, b.Errorf("junk", "junk is %v and reject %v: nothing would reach the junk folder", f.Junk, f.Reject)
	}
	return f, nil
}

func (*filter) Stages() pipeline.Stages { return pipeline.At(pipeline.Message, pipeline.Deliver) }

func (*filter) Access(s pipeline.Stage) (reads, writes pipeline.Facts) {
	if s == pipeline.Deliver {
		return pipeline.Scores | pipeline.Tags | pipeline.Header, pipeline.Header | pipeline.Tags
	}
	return pipeline.Scores | pipeline.Tags, pipeline.Header | pipeline.Tags | pipeline.Envelope
}

// limit reads a limit that a filter has stated in a tag.
func limit(v *pipeline.View, tag string) (points float64, ok bool) {
	text, ok := v.Tag(tag)
	if !ok {
		return 0, false
	}
	points, err := strconv.ParseFloat(text, 64)
	return points, err == nil
}

// junk is from which sum on a message is spam.
func (f *filter) junk(v *pipeline.View) float64 {
	if f.ruled {
		if points, ok := limit(v, "spam.limit"); ok && points > 0 {
			return points
		}
	}
	return f.Junk
}

// Filter judges the sum.
func (f *filter) Filter(_ context.Context, s pipeline.Stage, v *pipeline.View) (pipeline.Verdict, error) {
	scores := v.Scores()
	switch {
	case len(scores) == 0:
		return pipeline.Verdict{}, nil
	case s == pipeline.Deliver:
		return f.deliver(v), nil
	}
	sum, junk := v.Score(), f.junk(v)
	tag := cmp.Or(f.Tag, junk)
	out := pipeline.Verdict{Note: fmt.Sprintf("score %.1f", sum)}
	over := func(limit float64) bool { return limit > 0 && sum >= limit }
	if over(f.Reject) {
		out.Action, out.Reply = pipeline.Reject, smtp.NewReply(550, 7, 1, f.Text)
		return out, nil
	}
	// A scorer with fields of its own has said so: one status is enough.
	_, told := v.Tag("spam.status")
	if f.Header {
		out.Mods = append(out.Mods, pipeline.AddHeader{Name: "X-Spam-Score", Value: fmt.Sprintf("%.1f", sum)})
		if !told {
			out.Mods = append(out.Mods, pipeline.AddHeader{Name: "X-Spam-Status", Value: status(scores, sum, tag)})
		}
	}
	if over(tag) {
		if !told {
			out.Mods = append(out.Mods, pipeline.AddHeader{Name: "X-Spam-Flag", Value: "YES"})
		}
		out.Mods = append(out.Mods, pipeline.Tag{Name: "spam"})
	}
	switch {
	case over(f.Quarantine):
		out.Mods = append(out.Mods, pipeline.Quarantine{Reason: out.Note})
	case over(junk):
		out.Mods = append(out.Mods, pipeline.SetFolder{Folder: f.Folder})
	}
	return out, nil
}

// deliver judges one recipient's copy: it goes to the junk folder or, if it was to go
// there, no more. What the recipient's own preferences want (spam.required) counts more
// than the options.
func (f *filter) deliver(v *pipeline.View) pipeline.Verdict {
	sum, junk := v.Score(), f.junk(v)
	if own, ok := limit(v, "spam.required"); ok {
		junk = own
	}
	out := pipeline.Verdict{Note: fmt.Sprintf("score %.1f of %.1f", sum, junk)}
	// A copy that stays as it is, is stored once for all recipients.
	if score := fmt.Sprintf("%.1f", sum); f.Header && !has(v, score) {
		out.Mods = append(out.Mods, pipeline.SetHeader{Name: "X-Spam-Score", Nth: 1, Value: score})
	}
	switch {
	case f.Junk > 0 && sum >= junk:
		out.Mods = append(out.Mods, pipeline.SetFolder{Folder: f.Folder}, pipeline.Tag{Name: "spam"})
	case v.Folder() == f.Folder:
		out.Mods = append(out.Mods, pipeline.SetFolder{})
	}
	return out
}

func has(v *pipeline.View, score string) bool {
	f, ok := v.Message().Header().First("X-Spam-Score")
	return ok && f.Value() == score
}

// status is the header in SpamAssassin's form.
func status(scores []pipeline.Score, sum, required float64) string {
	yes := "No"
	if required > 0 && sum >= required {
		yes = "Yes"
	}
	tests := make([]string, len(scores))
	for i, s := range scores {
		tests[i] = fmt.Sprintf("%s=%s", s.Name, pipeline.FormatPoints(s.Points))
	}
	return fmt.Sprintf("%s, score=%.1f required=%.1f tests=%s", yes, sum, required, strings.Join(tests, ", "))
}
