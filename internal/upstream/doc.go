// Package upstream has no code, only tests: one for each defect of a dependency
// that made us write an engine of our own or wrap the dependency. Each reproduces
// the defect against the version in go.mod. When a new version mends it the test
// fails with the word "reconsider" and names the row of
// docs/decisions/0001-owner-packages.md that is to be read again; when the
// decision stands, the test goes.
package upstream
