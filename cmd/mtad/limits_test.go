package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"mtad/deliver/relay"
	"mtad/message"
	"mtad/smtpd"
)

// Every limit of a session, a message, a delivery and the queue is an option: its
// default is the promise, and what is written is what the room gets.
func TestLimitsAreOptions(t *testing.T) {
	for _, l := range []struct {
		option, def, other string
		get                func(*loaded) any
	}{
		{"message_size_limit", "50 * MB", "1 * MB", func(c *loaded) any { return c.limits().MessageSize }},
		{"recipient_limit", "1000", "100", func(c *loaded) any { return c.limits().Recipients }},
		{"line_length_limit", "2048", "512", func(c *loaded) any { return c.limits().CommandLine }},
		{"header_size_limit", "256 * KB", "10 * KB", func(c *loaded) any { return c.limits().Header.HeaderSize }},
		{"header_field_limit", "1000", "50", func(c *loaded) any { return c.limits().Header.Fields }},
		{"header_line_limit", "10000", "100", func(c *loaded) any { return c.limits().Header.Lines }},
		{"mime_nesting_limit", "100", "3", func(c *loaded) any { return c.limits().Header.Depth }},
		{"mime_part_limit", "1000", "3", func(c *loaded) any { return c.limits().Header.Parts }},
		{"command_timeout", `"5m"`, `"1s"`, func(c *loaded) any { return c.limits().CommandTimeout }},
		{"data_timeout", `"3m"`, `"1s"`, func(c *loaded) any { return c.limits().BlockTimeout }},
		{"session_timeout", `"30m"`, `"1s"`, func(c *loaded) any { return c.limits().SessionTimeout }},
		{"message_timeout", `"4m"`, `"1s"`, func(c *loaded) any { return c.limits().Message }},
		{"client_connection_limit", "20", "1", func(c *loaded) any { return c.limits().PerAddress }},
		{"connection_limit", "1000", "1", func(c *loaded) any { return c.limits().Connections }},
		{"soft_error_limit", "10", "1", func(c *loaded) any { return c.limits().SlowErrors }},
		{"hard_error_limit", "20", "1", func(c *loaded) any { return c.limits().MaxErrors }},
		{"auth_failure_limit", "3", "1", func(c *loaded) any { return c.limits().AuthFailures }},
		{"smtp_connect_timeout", `"30s"`, `"1s"`, func(c *loaded) any { return c.timeouts().Connect }},
		{"smtp_helo_timeout", `"5m"`, `"1s"`, func(c *loaded) any { return c.timeouts().Banner }},
		{"smtp_mail_timeout", `"5m"`, `"1s"`, func(c *loaded) any { return c.timeouts().Mail }},
		{"smtp_rcpt_timeout", `"5m"`, `"1s"`, func(c *loaded) any { return c.timeouts().Rcpt }},
		{"smtp_data_init_timeout", `"2m"`, `"1s"`, func(c *loaded) any { return c.timeouts().DataStart }},
		{"smtp_data_xfer_timeout", `"3m"`, `"1s"`, func(c *loaded) any { return c.timeouts().Block }},
		{"smtp_data_done_timeout", `"10m"`, `"1s"`, func(c *loaded) any { return c.timeouts().FinalDot }},
		{"retry_schedule", `["5m", "10m", "20m", "40m", "1h", "2h", "4h"]`, `["1m"]`, func(c *loaded) any { return c.retries }},
		{"maximal_queue_lifetime", `"5d"`, `"1h"`, func(c *loaded) any { return c.top.MaxAge }},
		{"bounce_queue_lifetime", `"1d"`, `"1h"`, func(c *loaded) any { return c.top.MaxAgeNull }},
		{"delay_warning_local", `"4h"`, `"1h"`, func(c *loaded) any { return c.top.WarnLocal }},
		{"delay_warning_time", `"24h"`, `"1h"`, func(c *loaded) any { return c.top.WarnOther }},
		{"hopcount_limit", "100", "20", func(c *loaded) any { return c.top.Hops }},
	} {
		read := func(text string) any {
			path := filepath.Join(t.TempDir(), "mtad.hcl")
			check(t, os.WriteFile(path, []byte(text), 0o600))
			c, err := loadConfig(path)
			check(t, err)
			return l.get(c)
		}
		silent, said, other := read(""), read(fmt.Sprintf("%s = %s\n", l.option, l.def)), read(fmt.Sprintf("%s = %s\n", l.option, l.other))
		if !reflect.DeepEqual(silent, said) {
			t.Errorf("%s is %v by default, want %s", l.option, silent, l.def)
		}
		if reflect.DeepEqual(silent, other) {
			t.Errorf("%s = %s changes nothing", l.option, l.other)
		}
	}
}

// The rooms have the same defaults as the options.
func TestDefaultsAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mtad.hcl")
	check(t, os.WriteFile(path, nil, 0o600))
	c, err := loadConfig(path)
	check(t, err)
	if got := c.limits(); got != smtpd.DefaultLimits {
		t.Errorf("smtpd has %+v, the options %+v", smtpd.DefaultLimits, got)
	}
	if got := c.timeouts(); got != relay.DefaultTimeouts {
		t.Errorf("relay has %+v, the options %+v", relay.DefaultTimeouts, got)
	}
	if got := c.messageLimits(); got != message.DefaultLimits {
		t.Errorf("message has %+v, the options %+v", message.DefaultLimits, got)
	}
	if len(c.retries) != 7 || c.retries[0] != 5*time.Minute || c.retries[6] != 4*time.Hour {
		t.Errorf("retries %v", c.retries)
	}
}
