package mtatest

// Fewer is how many of n cases are compared: all, or a fifth under the race detector.
// What one goroutine computes alone needs no more of its looks.
func Fewer(n int) int {
	if Race {
		return max(1, n/5)
	}
	return n
}
