// Shown without a session: says how to get one.

import { useState } from 'react';
import { useTexts } from './i18n/use-text';
import { startSession } from './session';

const COMMAND = 'avl-cloud sign-in --data-dir DIR';

export function SignIn() {
  const { t } = useTexts();
  const [copied, setCopied] = useState(false);
  const copy = () => {
    navigator.clipboard.writeText(COMMAND).then(() => { setCopied(true); }, () => undefined);
  };
  return (
    <main className="sign-in">
      <div className="sign-in-card">
        <span className="logo" aria-hidden="true" />
        <h1>{t('sign-in.title')}</h1>
        <p>{t('sign-in.text')}</p>
        <div className="sign-in-command">
          <code>{COMMAND}</code>
          <button type="button" className="button" onClick={copy}>{copied ? t('sign-in.copied') : t('sign-in.copy')}</button>
        </div>
        <p className="quiet">{t('sign-in.note')}</p>
        <button type="button" className="button primary" onClick={() => void startSession()}>{t('sign-in.retry')}</button>
      </div>
    </main>
  );
}
