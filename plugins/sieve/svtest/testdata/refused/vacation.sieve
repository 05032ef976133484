require ["vacation"];
vacation;
vacation :days "x" "y";
vacation :from "nobody" "x";
vacation :seconds 5 "x";
