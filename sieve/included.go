package sieve

// Included is a script that another one includes.
type Included struct {
	Location string // "personal" or "global"
	Name     string
	Text     string
}

// Included are the scripts that were compiled into this one. Where one of them
// has changed, this one is to be compiled anew.
func (s *Script) Included() []Included { return s.included }
