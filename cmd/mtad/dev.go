package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mtad/cmd/mtad/boot"
	"mtad/cmd/mtad/dev"
	"mtad/directory"
	"mtad/mailbox"
)

// devUsers are the demo accounts; each password is the name.
var devUsers = []string{"alice", "bob", "carol"}

const devDomain = "example.test"

// serveDev makes the directory if it is not there, and serves from it.
func serveDev(ctx context.Context, dir string, base int, out, logTo io.Writer) error {
	if base < 1024 || base > dev.MaxBase {
		return exitf(exitUsage, "--base-port must be from 1024 to %d", dev.MaxBase)
	}
	d := dev.Dir{Path: dir, Ports: dev.PortsFrom(base)}
	if err := d.Prepare(); err != nil {
		return exitf(exitIO, "dev mode: %w", err)
	}
	sink, err := dev.StartSink(filepath.Join(dir, "sink"), d.Ports.Sink)
	if err != nil {
		return &exitError{exitTemp, fmt.Errorf("sink: %w", busyPort(&boot.AddrError{Addr: fmt.Sprintf("127.0.0.1:%d", d.Ports.Sink), Err: err}))}
	}
	defer sink.Close()
	return serve(ctx, source{path: filepath.Join(dir, configName)}, &boot.Start{}, logTo, func(h *house) error {
		if err := seed(ctx, h); err != nil {
			return err
		}
		return d.Screen(out, os.Args[0], configFlag(dir))
	})
}

// seed makes the demo accounts, once.
func seed(ctx context.Context, h *house) error {
	domains, err := h.directory.Domains(ctx)
	if err != nil || len(domains) > 0 {
		return err
	}
	if err := h.directory.AddDomain(ctx, devDomain, directory.Local); err != nil {
		return err
	}
	for _, name := range devUsers {
		u, err := h.directory.AddUser(ctx, name+"@"+devDomain, name)
		if err != nil {
			return err
		}
		if err := h.mailboxes.Provision(ctx, mailbox.AccountID(u.ID)); err != nil {
			return err
		}
	}
	return h.directory.AddAlias(ctx, "root@"+devDomain, "alice@"+devDomain)
}

// configFlag is what other commands need to find the directory: nothing, if it
// is where they look.
func configFlag(dir string) string {
	if filepath.Clean(dir) == devDir {
		return ""
	}
	return " -c " + filepath.Join(dir, configName)
}
