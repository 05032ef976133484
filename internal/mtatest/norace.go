//go:build !race

package mtatest

// Race: the race detector is on.
const Race = false
