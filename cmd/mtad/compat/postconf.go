package compat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"mtad/config"
)

// postconf shows, and with -e changes, the settings that have Postfix's names.
func postconf(_ context.Context, e *Env, args []string) int {
	return e.configuration("postconf", "c:dehnvxopqC:H", false, args)
}

// doveconf shows the settings that have Dovecot's names.
func doveconf(_ context.Context, e *Env, args []string) int {
	return e.configuration("doveconf", "c:adhnm:NSxf:", true, args)
}

// confFlags are what both have in common; other flags change nothing here.
type confFlags struct {
	config                        string
	defaults, edit, bare, written bool
}

// configuration is postconf(1) and doveconf(1).
func (e *Env) configuration(program, spec string, dovecot bool, args []string) int {
	opts, names, err := getopt(args, spec)
	f := confFlags{}
	for _, o := range opts {
		switch o.flag {
		case 'c':
			f.config = o.arg
		case 'd':
			f.defaults = true
		case 'e':
			f.edit = true
		case 'h':
			f.bare = true
		case 'n', 'N':
			f.written = true
		}
	}
	switch {
	case err != nil:
	case f.edit:
		err = e.postconfEdit(f.config, names)
	default:
		err = e.conf(program, f, dovecot, names)
	}
	return e.ended(program, exitFatal, err)
}

// conf prints settings: all, those that are written, or those that are named.
func (e *Env) conf(program string, f confFlags, dovecot bool, names []string) error {
	all, err := e.Settings(f.config, dovecot)
	if err != nil {
		return err
	}
	chosen := all
	if len(names) > 0 {
		chosen = nil
	}
	for _, name := range names { // in the order that they are asked for in
		i := slices.IndexFunc(all, func(s config.Setting) bool { return s.Name == name })
		if i < 0 {
			fmt.Fprintf(e.Err, "%s: warning: %s: unknown parameter%s\n", program, Clean(name), e.here(name, dovecot))
			continue
		}
		chosen = append(chosen, all[i])
	}
	for _, s := range chosen {
		if f.written && !s.Written {
			continue
		}
		value := s.Value
		if f.defaults {
			value = s.Default
		}
		if f.bare {
			fmt.Fprintln(e.Out, Clean(value))
			continue
		}
		fmt.Fprintln(e.Out, strings.TrimSpace(s.Name+" = "+Clean(value)))
	}
	return nil
}

// postconfEdit writes "name = value" into the configuration.
func (e *Env) postconfEdit(file string, edits []string) error {
	all, err := e.Settings(file, false)
	if err != nil {
		return err
	}
	for _, edit := range edits {
		name, value, ok := strings.Cut(edit, "=")
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(all, func(s config.Setting) bool { return s.Name == name })
		switch {
		case !ok:
			return fatalf("missing '=' after attribute name: %q", edit)
		case i < 0:
			return fatalf("%s: unknown parameter%s", name, e.here(name, false))
		}
		if err := e.Set(file, all[i].Key, all[i].Ours(strings.TrimSpace(value))); err != nil {
			return err
		}
	}
	return nil
}

// here is what a setting that has no value of its own is, for a warning.
func (e *Env) here(name string, dovecot bool) string {
	if text := e.Meaning(name, dovecot); text != "" {
		return " here (" + text + ")"
	}
	return ""
}
