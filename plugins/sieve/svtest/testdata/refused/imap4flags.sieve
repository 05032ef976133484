require ["imap4flags"];
setflag;
if hasflag {}
addflag 5;
keep :flags;
