package spam

import (
	"mtad/spam/conf"
	"mtad/spam/scan"
)

// What a server says of a message is in the words of package scan.
type (
	Facts     = scan.Facts
	SPF       = scan.SPF
	Signature = scan.Signature
	DMARC     = scan.DMARC
)

// Open reads rules as LoadRules does, and makes them ready.
func Open(paths []string, o Options) (*Engine, error) {
	rs, err := LoadRules(paths, conf.Options{Local: !o.Net})
	if err != nil {
		return nil, err
	}
	return New(rs, o), nil
}

// Problems are the lines of the rules that can not be obeyed.
func (e *Engine) Problems() []conf.Problem { return e.settings.Rules.Problems }
