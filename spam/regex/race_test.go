//go:build race

package regex

// raceEnabled: the race detector lets pools forget what they have. It is slow, and
// what is compared with Perl needs no second look by it.
const (
	raceEnabled = true
	scale       = 20
)
