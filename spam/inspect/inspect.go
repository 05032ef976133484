// Package inspect has the functions of plugins that SpamAssassin (4.0) has and Debian's
// package leaves to be switched on in a .pre file: AuthRes, PDFInfo, TextCat,
// OLEVBMacro, Phishing, URILocalBL, DecodeShortURLs and others. What needs a program, a
// database or a service that is not there is unknown, and says what is missing.
package inspect

import (
	"maps"
	"strconv"

	"mtad/spam/eval"
	"mtad/spam/scan"
)

// plugin begins the names of SpamAssassin's plugins.
const plugin = "Mail::SpamAssassin::Plugin::"

// Functions are all functions by their names. The map must not be changed.
func Functions() map[string]eval.Func {
	out := map[string]eval.Func{}
	for _, table := range []map[string]eval.Func{authresEval, pdfEval, textcatEval, filesEval, shortEval, phishingEval, oleEval} {
		maps.Copy(out, table)
	}
	return out
}

// Prepare does what plugins do that are loaded, before any rule runs: they add links,
// set tags and fields that rules look at.
func Prepare(s *scan.Scan) {
	for name, f := range map[string]func(*scan.Scan){"PDFInfo": func(s *scan.Scan) { pdfOf(s) }, "TextCat": func(s *scan.Scan) { languagesOf(s) }, "OLEVBMacro": func(s *scan.Scan) { macrosOf(s) }} {
		if s.Rules.Plugins[plugin+name] {
			f(s)
		}
	}
}

// number reads an argument; ok is false if it is not there.
func number(args []string, i int) (v float64, ok bool) {
	if i >= len(args) {
		return 0, false
	}
	v, _ = strconv.ParseFloat(args[i], 64) // what is no number is 0 for Perl too
	return v, true
}

// within reports whether a value is not below the argument i and not above the next.
func within(v float64, args []string, i int) bool {
	least, ok := number(args, i)
	most, bounded := number(args, i+1)
	return ok && v >= least && (!bounded || v <= most)
}

func hit(b bool) (float64, error) {
	if b {
		return 1, nil
	}
	return 0, nil
}
