require "imap4flags";
if not header "x-first" "was here" { discard; }
addflag "$label1";
