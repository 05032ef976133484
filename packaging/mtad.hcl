# The configuration of mtad. `mtad config explain KEY` tells what anything here
# means, `mtad config check` whether it is good; `systemctl reload mtad` puts a
# change in force. Files of /etc/mtad/conf.d are read after this one.
#
# As it stands mtad takes mail for the domains of `mtad domain add DOMAIN` and
# the users of `mtad user add ADDRESS`, and sends mail of this machine to the
# world. /usr/share/doc/mtad/running.md tells more.

# hostname = "mx.example.org"    # set by the package in conf.d/hostname.hcl
data_dir = "/var/lib/mtad"

# A certificate that user mtad may read; then tls = "opportunistic" below, and
# the listeners for users.
#
# tls {
#   cert = "/etc/mtad/cert.pem"
#   key  = "/etc/mtad/key.pem"
# }

listener "mx" {
  addr     = [":25"]
  pipeline = "inbound"
}

# Users, from elsewhere only with a certificate:
#
# listener "submissions" {
#   addr     = [":465"]
#   tls      = "implicit"
#   auth     = "required"
#   pipeline = "outbound"
# }
# listener "imaps" {
#   protocol = "imap"
#   addr     = [":993"]
#   tls      = "implicit"
# }
# listener "managesieve" {         # instead of the one below
#   protocol = "managesieve"
#   addr     = [":4190"]
#   tls      = "required"
# }
listener "submission" {
  addr     = ["127.0.0.1:587"]
  auth     = "required"
  pipeline = "outbound"
}
listener "imap" {
  protocol = "imap"
  addr     = ["127.0.0.1:143"]
}
listener "managesieve" {           # users' scripts
  protocol = "managesieve"
  addr     = ["127.0.0.1:4190"]
}

# What comes in runs through these filters, exactly as written.
pipeline "inbound" {
  filter "spf" {}
  filter "dkim" {}
  filter "spamscore" {}            # SpamAssassin's rules, those of its package if that is installed
  filter "thresholds" {            # what the summed score means
    reject = 15                    # junk is required_score of the rules, 5 points
  }
}

# Once for each local recipient.
pipeline "delivery" {
  filter "sieve" "user" { scripts = store() }
}

# What users send, and what the server itself sends.
pipeline "outbound" {}
pipeline "generated" {}
