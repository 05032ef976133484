package thresholds

import (
	"context"
	"testing"

	"mtad/config"
	"mtad/internal/mtatest"
	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

func build(body string) (pipeline.Filter, error) {
	b, diags := config.ParseBlock(body, config.BlockType{Options: options})
	if diags != nil {
		return nil, diags[0]
	}
	return newFilter(b, pipeline.Env{})
}

// giver is a filter that gives points and a tag.
type giver struct {
	points []float64
	tag    pipeline.Tag
}

func (giver) Stages() pipeline.Stages { return pipeline.At(pipeline.Mail) }

func (g giver) Filter(context.Context, pipeline.Stage, *pipeline.View) (pipeline.Verdict, error) {
	var v pipeline.Verdict
	for _, p := range g.points {
		v.Mods = append(v.Mods, pipeline.AddScore{Name: "rule", Points: p})
	}
	v.Mods = append(v.Mods, g.tag)
	return v, nil
}

// run sends a message with these points through a filter.
func run(t *testing.T, f pipeline.Filter, points ...float64) pipeline.Verdict {
	t.Helper()
	return runTagged(t, f, pipeline.Tag{Name: "other"}, points...)
}

// runTagged does that where a filter has left a tag.
func runTagged(t *testing.T, f pipeline.Filter, tag pipeline.Tag, points ...float64) pipeline.Verdict {
	t.Helper()
	p, err := pipeline.New("p", []*pipeline.Step{{Name: "s", Filter: giver{points, tag}, OnError: pipeline.TempFail}}, pipeline.Env{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := message.Parse(message.FromBytes([]byte("A: b\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	flow := p.Open(pipeline.Client{})
	defer flow.Close()
	flow.Begin(1, smtp.Address{}, smtp.MailParams{})
	flow.Run(t.Context(), pipeline.Mail)
	flow.SetMessage(m, nil, nil)
	out, err := f.Filter(t.Context(), pipeline.Message, flow.View())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		body   string
		points []float64
		want   string
	}{
		{"", nil, "continue"},
		{"", []float64{1, 0.5}, "continue; add-header X-Spam-Score: 1.5; add-header X-Spam-Status: No, score=1.5 required=6.0 tests=rule=1.0, rule=0.5"},
		{"", []float64{4, 2}, `continue; add-header X-Spam-Score: 6.0; add-header X-Spam-Status: Yes, score=6.0 required=6.0 tests=rule=4.0, rule=2.0; add-header X-Spam-Flag: YES; tag spam; set-folder "Junk"`},
		{"", []float64{15}, "reject 550 5.7.1 Message looks like spam"},
		{"text = \"go\"", []float64{20}, "reject 550 5.7.1 go"},
		{"header = false\nfolder = \"Spam\"", []float64{7}, `continue; add-header X-Spam-Flag: YES; tag spam; set-folder "Spam"`},
		{"header = false\nreject = 0\nquarantine = 10", []float64{100}, `continue; add-header X-Spam-Flag: YES; tag spam; quarantine "score 100.0"`},
		{"header = false\njunk = 0\ntag = 2", []float64{3}, `continue; add-header X-Spam-Flag: YES; tag spam`},
		{"header = false\njunk = 0", []float64{14}, "continue"},
		{"header = false", []float64{10, -9}, "continue"},
	} {
		f, err := build(c.body)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t, f, c.points...).String(); got != c.want {
			t.Errorf("%q %v:\ngot  %s\nwant %s", c.body, c.points, got, c.want)
		}
	}
}

// What the rules of a scorer require counts where the options say nothing.
func TestLimitOfRules(t *testing.T) {
	const junk, clean = `continue; add-header X-Spam-Flag: YES; tag spam; set-folder "Junk"`, "continue"
	for _, c := range []struct {
		body, limit string
		points      float64
		want        string
	}{
		{"", "5", 5, junk}, {"", "5", 4.9, clean}, {"", "8.5", 8, clean}, {"", "8.5", 8.5, junk}, {"junk = 6", "5", 5, clean}, {"junk = 6", "8", 6, junk},
		{"junk = 0", "5", 9, clean}, {"", "x", 5.9, clean}, {"", "x", 6, junk}, {"", "-1", 3, clean}, {"tag = 2", "5", 3, "continue; add-header X-Spam-Flag: YES; tag spam"},
	} {
		f, err := build("header = false\n" + c.body)
		mtatest.Check(t, err)
		if got := runTagged(t, f, pipeline.Tag{Name: "spam.limit", Value: c.limit}, c.points).String(); got != c.want {
			t.Errorf("%q, limit %s, %v points:\ngot  %s\nwant %s", c.body, c.limit, c.points, got, c.want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, body := range []string{"junk = 20", "junk = -1", "reject = \"x\"", "nonsense = 1"} {
		if _, err := build(body); err == nil {
			t.Errorf("%q is taken", body)
		}
	}
}

func TestReadme(t *testing.T) {
	mtatest.Examples(t, mtatest.Readme(t, options), func(_, body string) error {
		_, err := build(body)
		return err
	})
	mtatest.Check(t, config.CheckStruct(options, &settings{}))
}
