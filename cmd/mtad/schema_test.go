package main

import (
	"testing"

	"mtad/config"
	"mtad/plugins"
)

func TestSchemaIsWhole(t *testing.T) {
	check(t, config.CheckSchema(schema()))
}

func TestStructsFitTheirOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		options []config.Option
		dst     any
	}{
		"top":      {topOptions, &topSettings{}},
		"listener": {listenerOptions, &listenerSettings{}},
		"tls":      {tlsOptions, &tlsSettings{}},
		"route":    {routeOptions, &routeSettings{}},
		"step":     {stepOptions, &stepSettings{}},
	} {
		if err := config.CheckStruct(tc.options, tc.dst); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKindsOfFilters(t *testing.T) {
	seen := map[string]bool{}
	common := map[string]bool{}
	for _, o := range stepOptions {
		common[o.Name] = true
	}
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		if k.Name == "" || k.Doc == "" || k.Stages == 0 || k.New == nil || seen[k.Name] {
			t.Errorf("kind %q lacks something, or is there twice", k.Name)
		}
		seen[k.Name] = true
		for _, o := range k.Options {
			if common[o.Name] {
				t.Errorf("%s: option %s is one that every filter has", k.Name, o.Name)
			}
		}
		if found, _ := filterType(k.Name); found == nil || found.Name != k.Name {
			t.Errorf("%s is not found by its name", k.Name)
		}
	}
	if found, names := filterType("nothing"); found != nil || len(names) != len(seen) {
		t.Errorf("found %v, %v", found, names)
	}
}

// TestEveryFilterIsDocumented prints the page of every kind.
func TestEveryFilterIsDocumented(t *testing.T) {
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		out, errs, code := runMtad("", "filter", "doc", k.Name)
		if code != 0 || errs != "" {
			t.Errorf("%s: exit %d %s", k.Name, code, errs)
		}
		for _, o := range k.Options {
			if !containsLine(out, "pipeline.filter."+k.Name+"."+o.Name) {
				t.Errorf("%s: nothing of %s", k.Name, o.Name)
			}
		}
	}
	out, _, _ := runMtad("", "filter", "list", "-o", "ndjson")
	for _, k := range plugins.Kinds(plugins.Deps{}) {
		if !containsText(out, `"name":"`+k.Name+`"`) {
			t.Errorf("%s is not listed", k.Name)
		}
	}
}
