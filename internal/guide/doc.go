// Package guide has no code, only the tests of PLUGINS.md: what the page shows is
// built, loaded and run as the page says.
package guide
