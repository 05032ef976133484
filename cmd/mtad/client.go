package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mtad/admin"
	"mtad/config"
)

// client is a client of the server that runs on the configuration which the
// flags name.
func (g *global) client() (*admin.Client, error) {
	path, err := g.configPath()
	if err != nil {
		return nil, err
	}
	dir, err := dataDir(path)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(filepath.Join(dir, controlSocket)), nil
}

var dataDirLine = regexp.MustCompile(`(?m)^[ \t]*data_dir[ \t]*=[ \t]*"([^"$\\]*)"`)

// dataDir is the data_dir of a configuration. The file may be broken, or name
// secrets that this user has not: the server that runs is reached all the same.
func dataDir(path string) (string, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "", &exitError{int(admin.Permission), err}
	case err != nil:
		return "", &exitError{exitConfig, err}
	}
	if top, err := readTop(path); err == nil {
		return top.DataDir, nil
	}
	dir := "/var/lib/mtad"
	if m := dataDirLine.FindSubmatch(text); m != nil {
		dir = string(m[1])
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(path), dir)
	}
	return dir, nil
}

// readTop reads the top of a configuration, and checks nothing.
func readTop(path string) (top topSettings, err error) {
	file, diags := config.Load(path, schema(), config.Options{})
	if diags != nil {
		return top, diags
	}
	return top, file.Root().Decode(&top)
}

// withClient makes a command's function of one that talks to the server.
func (g *global) withClient(fn func(ctx context.Context, c *admin.Client, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := g.client()
		if err != nil {
			return err
		}
		defer c.Close()
		return fn(cmd.Context(), c, cmd, args)
	}
}

// maxPassword is far more than the directory takes.
const maxPassword = 4096

// readPassword asks for a new password twice on a terminal, or takes the first
// line of standard input.
func readPassword(cmd *cobra.Command) (string, error) {
	in := cmd.InOrStdin()
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, maxPassword)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", exitf(exitNoInput, "read password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	ask := func(prompt string) (string, error) {
		cmd.PrintErr(prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		cmd.PrintErrln()
		return string(b), err
	}
	first, err := ask("New password: ")
	if err != nil {
		return "", exitf(exitNoInput, "read password: %w", err)
	}
	second, err := ask("Again: ")
	switch {
	case err != nil:
		return "", exitf(exitNoInput, "read password: %w", err)
	case first != second:
		return "", exitf(exitData, "the two are not the same")
	}
	return first, nil
}
