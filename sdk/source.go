package sdk

import "embed"

// Source is this package, with the protocol and its Python module: what `mtad
// plugin new` puts beside a new plugin. A program that does not use it does not
// carry it.
//
//go:embed message.go sdk.go verdict.go mtadpb/*.go mtadpb/filter.proto python/mtad_filter.py
var Source embed.FS
