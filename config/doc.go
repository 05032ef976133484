// Package config reads the server's configuration: mtad.hcl and the files of
// conf.d beside it, written in HCL.
//
// Every setting is one [Option] in a [Schema] that the caller composes; this
// package knows nothing of mail. Decoding, error messages, [Show], [Get],
// [Explain] and [Reference] all read that registry, so that an option cannot
// exist in one of them and be missing from another.
//
// Reading has two phases. [Load] parses, checks every name, type and bound
// against the schema, and reports all it finds as [Diagnostics], each with file,
// line, column, the line itself and the likely misspelling. [Block.Decode] then
// copies checked values, with defaults filled in, into a struct of the package
// that owns the block:
//
//	type settings struct {
//		Zones   map[string]float64 `mtad:"zones"`
//		Timeout time.Duration      `mtad:"timeout"`
//	}
//
// # Values
//
//	true  20  1.5  "text"  ["a", "b"]  { "a" = 6 }
//	"3s" "5m" "2d"       durations: ms s m h d w, added up ("1h30m")
//	10 * MB              sizes: KB, MB and GB are 1024, 1024² and 1024³ octets
//	"200/h"              rates: a count per duration
//	env("X")             the environment variable X
//	file("path")         a file's contents, without its final newline; the path
//	                     is relative to the file it is written in
//	store()              looked up in the store
//	score(3)             points
//	null                 as if the option were not written
//
// Values that came from env or file, and options marked Secret, are never
// printed by this package.
//
// A when option is not evaluated while loading: [CompileWhen] turns it into
// closures over the caller's typed variables.
package config
