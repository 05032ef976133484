package external

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"mtad/pipeline"
	"mtad/sdk"
	"mtad/sdk/mtadpb"
)

// manifest is what a program declared.
type manifest struct {
	name, version string
	protocol      uint32
	stages        pipeline.Stages
	reads, writes pipeline.Facts
	pure          bool
	ends          bool // it is told how transactions end
}

// access is what the pipeline may rely on. A program that does not say that it is
// pure may do what it likes to the world.
func (m *manifest) access() (reads, writes pipeline.Facts) {
	if m.pure {
		return m.reads, m.writes
	}
	return m.reads, m.writes | pipeline.Effects
}

// check refuses edits that the manifest does not declare and that the pipeline,
// which access tells more, lets pass.
func (m *manifest) check(v pipeline.Verdict) error {
	if m.writes&pipeline.Effects != 0 {
		return nil
	}
	mods := slices.Clone(v.Mods)
	for _, r := range v.Rcpts {
		mods = append(mods, r.Mods...)
	}
	for _, mod := range mods {
		switch mod.(type) {
		case pipeline.FileInto, pipeline.CancelKeep, pipeline.SetFlags, pipeline.Redirect:
			return fmt.Errorf("undeclared edit %q", mod)
		}
	}
	return nil
}

// The most that a manifest may have: it is logged and listed.
const (
	maxName    = 100
	maxWords   = 100 // stages, facts, options
	maxMessage = 2000
)

// absurd says what of a manifest is too much.
func absurd(in *mtadpb.Manifest) error {
	for what, s := range map[string]string{"name": in.GetName(), "version": in.GetVersion()} {
		if len(s) > maxName || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("its manifest's %s is no text of at most %d octets", what, maxName)
		}
	}
	for what, n := range map[string]int{
		"stages": len(in.GetStages()), "reads": len(in.GetReads()), "writes": len(in.GetWrites()), "options": len(in.GetOptions()),
	} {
		if n > maxWords {
			return fmt.Errorf("its manifest has %d %s; %d are the most", n, what, maxWords)
		}
	}
	return nil
}

// readManifest checks what a plugin says of itself, and what the configuration
// says to it.
func readManifest(in *mtadpb.Manifest, config map[string]string) (*manifest, error) {
	if in.GetProtocol() < 1 || in.GetProtocol() > sdk.Protocol {
		return nil, fmt.Errorf("it speaks protocol %d; this mtad speaks 1 to %d", in.GetProtocol(), sdk.Protocol)
	}
	if err := absurd(in); err != nil {
		return nil, err
	}
	m := &manifest{name: in.GetName(), version: in.GetVersion(), protocol: in.GetProtocol(), ends: !in.GetNoEnd()}
	if m.protocol >= 2 {
		m.pure = in.GetPure()
		if err := checkConfig(in.GetOptions(), config); err != nil {
			return nil, err
		}
	}
	if in.GetConfigError() != "" {
		return nil, fmt.Errorf("its config: %.*s", maxMessage, in.GetConfigError())
	}
	for _, s := range in.GetStages() {
		st, ok := pipeline.ParseStage(s)
		if !ok {
			return nil, fmt.Errorf("its manifest names the stage %.100q, which does not exist", s)
		}
		m.stages |= pipeline.At(st)
	}
	if m.stages == 0 {
		return nil, errors.New("its manifest names no stage")
	}
	var err error
	if m.reads, err = readFacts(in.GetReads()); err == nil {
		m.writes, err = readFacts(in.GetWrites())
	}
	return m, err
}

// checkConfig holds the names of config against those that the manifest has.
func checkConfig(options []*mtadpb.Option, config map[string]string) error {
	var names []string
	anyName := false
	for _, o := range options {
		if o.GetName() == sdk.AnyName {
			anyName = true
			continue
		}
		names = append(names, o.GetName())
		if _, ok := config[o.GetName()]; o.GetRequired() && !ok {
			return fmt.Errorf("its config needs %.*s: %.*s", maxName, o.GetName(), maxMessage, o.GetDoc())
		}
	}
	for _, k := range slices.Sorted(maps.Keys(config)) {
		if !anyName && !slices.Contains(names, k) {
			known := strings.Join(names, ", ")
			if known == "" {
				known = "none"
			}
			return fmt.Errorf("its config has %q, which the manifest does not declare; it declares: %s", k, known)
		}
	}
	return nil
}

func readFacts(names []string) (pipeline.Facts, error) {
	var out pipeline.Facts
	for _, n := range names {
		f, ok := pipeline.ParseFacts(n)
		if !ok {
			return 0, fmt.Errorf("its manifest names the fact %.100q, which does not exist; there are %s", n, pipeline.AllFacts)
		}
		out |= f
	}
	return out, nil
}
