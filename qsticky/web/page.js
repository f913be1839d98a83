for (const time of document.querySelectorAll("time")) {
  const moment = new Date(time.dateTime);
  time.title = moment.toLocaleString();
  if (time.className === "clock") time.textContent = moment.toLocaleTimeString();
  if (time.className === "date")
    time.textContent = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
