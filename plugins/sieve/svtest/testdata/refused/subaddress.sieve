require ["subaddress"];
if address :user :detail "to" "x" {}
if header :user "to" "x" {}
