//go:build race

package mtatest

// Race: the race detector is on. It is slow, and lets a sync.Pool forget what it has,
// so that neither many comparisons nor counts of allocations make sense.
const Race = true
