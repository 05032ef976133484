package main

import (
	"mtad/deliver/relay"
	"mtad/message"
	"mtad/smtpd"
)

// The limits of behaviour, from the options into the rooms that hold them.

func (c *loaded) messageLimits() message.Limits {
	return message.Limits{
		HeaderSize: int(c.top.HeaderSize), Fields: c.top.HeaderFields, Lines: c.top.HeaderLines,
		Depth: c.top.MIMEDepth, Parts: c.top.MIMEParts,
	}
}

func (c *loaded) limits() smtpd.Limits {
	return smtpd.Limits{
		MessageSize: int64(c.top.MessageSize), Recipients: c.top.Recipients, CommandLine: c.top.CommandLine,
		Connections: c.top.Connections, PerAddress: c.top.PerAddress,
		SlowErrors: c.top.SoftErrors, MaxErrors: c.top.HardErrors, AuthFailures: c.top.AuthFailures,
		CommandTimeout: c.top.CommandTimeout, BlockTimeout: c.top.DataTimeout, SessionTimeout: c.top.SessionTimeout,
		Message: c.top.MessageTimeout, Header: c.messageLimits(),
	}
}

func (c *loaded) timeouts() relay.Timeouts {
	return relay.Timeouts{
		Connect: c.top.OutConnect, Banner: c.top.OutHelo, Mail: c.top.OutMail, Rcpt: c.top.OutRcpt,
		DataStart: c.top.OutDataStart, Block: c.top.OutBlock, FinalDot: c.top.OutDone,
	}
}
