//go:build race

package regex

// raceEnabled: the race detector lets pools forget what they have.
const raceEnabled = true
